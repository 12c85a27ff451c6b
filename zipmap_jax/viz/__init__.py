"""Views of a reconstruction: colour maps, the self-contained web page, renderings for logs.

All functions take NumPy arrays or a `Scene`. `render_page` returns the web page as text, which
`zipmap_jax.export.write_html` writes to a file.
"""

from zipmap_jax.viz.colormaps import ColormapName, apply_colormap, colormap_table, view_colors
from zipmap_jax.viz.html import render_page
from zipmap_jax.viz.splat import look_at, overview, splat

__all__ = [
    "ColormapName",
    "apply_colormap",
    "colormap_table",
    "look_at",
    "overview",
    "render_page",
    "splat",
    "view_colors",
]
