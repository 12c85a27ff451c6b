from __future__ import annotations

import warnings
from pathlib import Path

from zipmap_jax.batch.notes import attribute_warnings, collect_warnings
from zipmap_jax.images.current import decoding

PILLOW = "/lib/site-packages/PIL/TiffImagePlugin.py"


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    warnings.warn_explicit(text, category, PILLOW, 1, "PIL.TiffImagePlugin")


def test_warnings_of_pictures_are_attributed_once_to_scene_and_file() -> None:
    bomb = type("DecompressionBombWarning", (UserWarning,), {})
    with warnings.catch_warnings(record=True) as shown, collect_warnings() as notes:
        for scene in ("a", "b"):
            with attribute_warnings(scene), decoding(Path(scene, "1.jpg")):
                warn("Corrupt EXIF data. ")
                warn("Corrupt EXIF data. ")
                warn("large", bomb)
            with attribute_warnings(scene):
                warn("ours")
        warn("of no scene")
    assert notes == {
        "a": ["a/1.jpg: Corrupt EXIF data: this is ignored", "ours"],
        "b": ["b/1.jpg: Corrupt EXIF data: this is ignored", "ours"],
    }
    assert [str(one.message) for one in shown] == [
        "a: a/1.jpg: Corrupt EXIF data: this is ignored",
        "a: ours",
        "b: b/1.jpg: Corrupt EXIF data: this is ignored",
        "b: ours",
        "of no scene",
    ]
