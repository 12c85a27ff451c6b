"""Published seconds of a forward call, on other hardware than ours.

One H100 SXM5 (80 GB), PyTorch 2.7.1, bf16 autocast (CUT3R and TTT3R: fp32), batch 1, images of
zeros; 392x518 pixels (CUT3R and TTT3R: 384x512). ZipMap with its camera and depth heads only.

Source: ZipMap paper, Table 7; 100, 300 and 400 views are read from its figure.
"""

from __future__ import annotations

from collections.abc import Mapping

SIZE = (392, 518)
PRESET = "large"

SECONDS: Mapping[str, Mapping[int, float]] = {
    "ZipMap": {
        5: 0.125,
        50: 0.712,
        100: 1.3,
        200: 2.681,
        300: 4.2,
        400: 5.7,
        500: 6.671,
        750: 9.999,
    },
    "VGGT": {5: 0.102, 50: 1.524, 200: 16.04, 300: 34.4, 400: 58.9, 500: 90.39, 750: 200.36},
    "pi3": {5: 0.087, 50: 1.186, 200: 12.19, 300: 25.8, 400: 44.4, 500: 68.26, 750: 151.16},
    "TTT3R": {5: 0.206, 50: 2.036, 200: 8.267, 300: 12.4, 400: 16.8, 500: 20.77, 750: 31.20},
}


def published(preset: str, size: tuple[int, int]) -> Mapping[str, Mapping[int, float]]:
    """Seconds by method and number of views; empty for other models or image sizes."""
    return SECONDS if (preset, size) == (PRESET, SIZE) else {}
