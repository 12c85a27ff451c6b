"""Plot of seconds against views on logarithmic axes, by matplotlib."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from zipmap_jax.bench.published import published
from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from zipmap_jax.bench.series import RuntimeResult


def plot(result: RuntimeResult) -> str:
    """SVG of all series with at least two points, and of the published curves, dashed.

    Raises:
      UserError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError('the plot needs matplotlib: pip install "zipmap-jax[plot]"') from error

    config = result.config
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot(xscale="log", yscale="log", xlabel="views", ylabel="seconds")
    size = f"{config.size[0]}x{config.size[1]}"
    device = str(result.machine.get("device", ""))
    axes.set_title(f"{config.preset}, {size}, {config.dtype}, {device}")
    axes.grid(which="both", color="#dddddd")
    for name in result.names:
        rows = result.measured(name)
        if len(rows) > 1:
            axes.plot([r.views for r in rows], [r.seconds or 0.0 for r in rows], "o-", label=name)
    for name, curve in published(config.preset, config.size).items():
        axes.plot(*zip(*sorted(curve.items()), strict=True), "--", label=f"{name} (published)")
    if axes.lines:
        figure.legend(loc="outside right upper")
    text = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "zipmap-jax"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
