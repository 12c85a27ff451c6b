"""scene.html: the web page of `zipmap_jax.viz.html` with the points of a scene."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zipmap_jax.scene.points import point_cloud
from zipmap_jax.viz.html import render_page

if TYPE_CHECKING:
    from zipmap_jax.scene.scene import Scene

MAX_PAGE_POINTS = 400_000
"""More points than this make the page larger than 8 MB and phones slow."""


def write_html(
    scene: Scene,
    path: Path,
    *,
    conf_threshold: float = 50.0,
    max_points: int = MAX_PAGE_POINTS,
    edge_threshold: float | None = None,
    title: str = "",
    notes: str = "",
) -> None:
    """Writes a self-contained page that shows the scene in any browser, without a network.

    The page holds points of every confidence; its slider starts at `conf_threshold`.

    Args:
      scene: the reconstruction.
      path: of the file, replaced if present.
      conf_threshold: where the confidence slider starts, in percent.
      max_points: of the page; capped at `MAX_PAGE_POINTS`.
      edge_threshold: see `point_cloud`.
      title: headline; default: the number of views.
      notes: shown under the headline.
    """
    cloud = point_cloud(
        scene,
        conf_threshold=0.0,
        max_points=min(max_points, MAX_PAGE_POINTS),
        edge_threshold=edge_threshold,
    )
    page = render_page(scene, cloud, conf_threshold=conf_threshold, title=title, notes=notes)
    path.write_text(page, encoding="utf-8")
