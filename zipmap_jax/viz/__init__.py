"""Views of a reconstruction: colour maps, and the self-contained web page.

`render_page` returns the web page of a `Scene` as text, which `zipmap_jax.export.write_html` writes
to a file. `zipmap_jax.viz.splat` renders small pictures of points and cameras for training logs.
"""

from zipmap_jax.viz.colormaps import ColormapName, apply_colormap, colormap_table, view_colors
from zipmap_jax.viz.html import render_page

__all__ = [
    "ColormapName",
    "apply_colormap",
    "colormap_table",
    "render_page",
    "view_colors",
]
