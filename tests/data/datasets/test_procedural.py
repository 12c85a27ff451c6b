"""Procedural scenes as a source of the loader."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np

from zipmap_jax.data.datasets.procedural import ProceduralScenes
from zipmap_jax.data.datasets.readers import open_source
from zipmap_jax.data.frame import check_frame
from zipmap_jax.procedural import ProceduralConfig, scene_batch

CONFIG = ProceduralConfig(
    views=3, height=14, width=28, boxes=6, spheres=1, cylinders=1, shadows=False
)
SIZE = (CONFIG.height, CONFIG.width)


def test_scenes_are_those_of_the_numbered_stream() -> None:
    source = ProceduralScenes(seed=4, config=CONFIG)
    views = source.scene(np.random.default_rng(0), CONFIG.views, SIZE)
    again = source.scene(np.random.default_rng(0), CONFIG.views, SIZE)
    other = source.scene(np.random.default_rng(1), CONFIG.views, SIZE)
    assert views.sequence == again.sequence != other.sequence
    with jax.default_device(jax.local_devices(backend="cpu")[0]):  # the same compiled program
        truth = jax.device_get(scene_batch(CONFIG, 4, views.sequence, 1))
    assert sorted(frame.id for frame in views.frames) == list(range(CONFIG.views))
    for frame in views.frames:
        check_frame(frame)
        np.testing.assert_array_equal(frame.depth, truth["depth"][0, frame.id])
        np.testing.assert_array_equal(frame.w2c, truth["w2c"][0, frame.id])
        np.testing.assert_array_equal(frame.intrinsics, truth["intrinsics"][0, frame.id])
        assert np.abs(frame.image / 255 - truth["images"][0, frame.id]).max() <= 0.5 / 255 + 1e-6

    shuffled = [source.scene(np.random.default_rng(i), CONFIG.views, SIZE) for i in range(12)]
    assert len({tuple(frame.id for frame in scene.frames) for scene in shuffled}) > 2
    plain = ProceduralScenes(seed=4, shuffle=False, config=CONFIG)
    ordered = plain.scene(np.random.default_rng(0), CONFIG.views, SIZE)
    assert [frame.id for frame in ordered.frames] == list(range(CONFIG.views))


def test_procedural_needs_no_folder() -> None:
    assert isinstance(open_source("procedural", Path("nowhere")), ProceduralScenes)
