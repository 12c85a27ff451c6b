"""Every output is written view by view, from arrays that are read at each access."""

from __future__ import annotations

import dataclasses
import weakref
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from tests.scenes import room
from zipmap_jax.export import FORMATS, Request, point_cloud, write_all
from zipmap_jax.scene.store import SceneStore

VIEWS = 7


class Tracked(Sequence):
    """Copies of arrays, made at each access, and the number of views with a copy in use."""

    def __init__(self, arrays, alive):
        self.arrays, self.alive, self.max = arrays, alive, 0

    def __len__(self):
        return len(self.arrays)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(index)
        array = self.arrays[index].copy()
        self.alive[index] += 1
        self.max = max(self.max, sum(count > 0 for count in self.alive.values()))
        weakref.finalize(array, self.drop, index)
        return array

    def drop(self, index):
        self.alive[index] -= 1


def tracked(scene):
    alive = Counter()
    names = ("depth", "confidence", "images")
    return dataclasses.replace(
        scene, **{name: Tracked(getattr(scene, name), alive) for name in names}
    )


@pytest.mark.parametrize("mixed", [False, True], ids=["one size", "two sizes"])
@pytest.mark.parametrize("name", FORMATS)
def test_writers_hold_few_views(name, mixed, tmp_path):
    scene = tracked(room(VIEWS, mixed=mixed))
    cloud = point_cloud(scene, conf_threshold=30, max_points=2000, edge_threshold=0.05)
    FORMATS[name].write(Request(scene, cloud, 30.0, 0.05), tmp_path)
    for arrays in (scene.depth, scene.confidence, scene.images):
        assert arrays.max <= 2  # a view, and the one after it before the first is dropped


def test_files_equal_those_of_a_scene_in_memory(tmp_path):
    scene, store = room(VIEWS, times=True, border=5), SceneStore(budget=300_000, parent=tmp_path)
    for i in range(VIEWS):
        store.images.append(scene.images[i])
        store.depth.append(scene.depth[i])
        store.confidence.append(scene.confidence[i])
    lazy = dataclasses.replace(
        scene, depth=store.depth, confidence=store.confidence, images=store.images
    )
    a, b = tmp_path / "a", tmp_path / "b"
    paths = write_all(scene, a / "out"), write_all(lazy, b / "out")
    assert [p.relative_to(a) for p in paths[0]] == [p.relative_to(b) for p in paths[1]]
    for one, other in zip(*paths, strict=True):
        if one.suffix == ".npz":
            with np.load(one) as x, np.load(other) as y:
                assert x.files == y.files
                for key in x.files:
                    np.testing.assert_array_equal(x[key], y[key])
        else:
            assert one.read_bytes() == other.read_bytes(), one.name
