from __future__ import annotations

import numpy as np
import pytest

from zipmap_jax.viz.colormaps import apply_colormap, colormap_table, view_colors


def lightness(rgb: np.ndarray) -> np.ndarray:
    value = rgb / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_dusk_gets_lighter_all_the_way() -> None:
    light = lightness(colormap_table("dusk"))
    assert (np.diff(light) > -1e-3).all()
    assert light[0] < 0.02
    assert light[-1] > 0.7


@pytest.mark.parametrize("name", ["dusk", "spectrum"])
def test_neighbouring_colours_are_close_and_all_differ(name: str) -> None:
    table = colormap_table(name).astype(int)  # type: ignore[arg-type]
    assert np.abs(np.diff(table, axis=0)).max() <= 12
    assert len(np.unique(table, axis=0)) == 256


def test_values_are_clipped_to_the_ends() -> None:
    table = colormap_table("dusk")
    np.testing.assert_array_equal(
        apply_colormap([[-1.0, 0.0], [1.0, 7.0]]), table[[[0, 0], [255, 255]]]
    )


def test_views_run_from_blue_to_red() -> None:
    colors = view_colors(5).astype(int)
    assert len(np.unique(colors, axis=0)) == 5
    assert colors[0].argmax() == 2
    assert colors[-1].argmax() == 0
    assert view_colors(0).shape == (0, 3)
    assert view_colors(1).shape == (1, 3)


def test_unknown_map_is_named() -> None:
    with pytest.raises(ValueError, match="not 'jet'"):
        colormap_table("jet")  # type: ignore[arg-type]
