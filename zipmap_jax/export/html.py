"""scene.html: a scene on the web page of `zipmap_jax.viz.html`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zipmap_jax.scene.points import point_cloud
from zipmap_jax.viz.html import render_page

if TYPE_CHECKING:
    from zipmap_jax.scene.scene import Scene

MAX_PAGE_POINTS = 400_000
"""Maximum number of points of a page; more exceed 8 MB and are slow on phones."""


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
    """Writes a self-contained web page that shows the scene in a browser without a network.

    The page contains points of every confidence, which are filtered by its slider.

    Args:
      scene: the reconstruction.
      path: the file; an existing one is replaced.
      conf_threshold: initial position of the confidence slider, in percent.
      max_points: maximum number of points, itself at most `MAX_PAGE_POINTS`.
      edge_threshold: see `point_cloud`.
      title: headline; empty = the number of views.
      notes: text below the headline.
    """
    cloud = point_cloud(
        scene,
        conf_threshold=0.0,
        max_points=min(max_points, MAX_PAGE_POINTS),
        edge_threshold=edge_threshold,
    )
    page = render_page(scene, cloud, conf_threshold=conf_threshold, title=title, notes=notes)
    path.write_text(page, encoding="utf-8")
