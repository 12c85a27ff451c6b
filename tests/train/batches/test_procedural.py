"""Shapes and scenes of batches drawn on the device."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter

import jax
import numpy as np
import pytest

from tests.quick import FUSED
from zipmap_jax.data.config import BatchShape, DataConfig, JitterConfig
from zipmap_jax.data.schedule import bucket_of
from zipmap_jax.train.batches import procedural
from zipmap_jax.train.batches.procedural import ProceduralSource, finish, microbatch_key
from zipmap_jax.train.config.schema import MeshConfig
from zipmap_jax.train.sharding import make_mesh

SMALL = DataConfig(
    buckets=(BatchShape(2, 14, 28, batch=2),),
    jitter=JitterConfig(probability=1.0, independent=1.0),
    microbatches=4,
)


ONE = MeshConfig()


@functools.cache
def source(config: DataConfig, mesh: MeshConfig = ONE, devices: int = 1) -> ProceduralSource:
    made = ProceduralSource(config, 10, 5, make_mesh(mesh, jax.devices()[:devices]))
    for bucket, program in made._programs.items():
        made._programs[bucket] = jax.jit(program, compiler_options=FUSED)
    return made


def test_shapes_follow_weights_and_opening_times() -> None:
    early = BatchShape(2, 14, 14, weight=3.0, end=0.5)
    always = BatchShape(4, 14, 14, weight=1.0)
    late = BatchShape(8, 28, 28, weight=1.0, start=0.5)
    config = DataConfig(buckets=(early, always, late))
    drawn = [bucket_of(step, 4000, 0, config) for step in range(4000)]
    first, second = Counter(drawn[:2000]), Counter(drawn[2001:])
    assert set(first) == {early, always}
    assert set(second) == {always, late}
    # 1500 +- 5 standard deviations of a binomial.
    assert abs(first[early] - 1500) < 100
    assert abs(second[late] - 1000) < 112
    assert drawn == [bucket_of(step, 4000, 0, config) for step in range(4000)]


def test_no_open_bucket_is_an_error() -> None:
    config = DataConfig(buckets=(BatchShape(2, 14, 14, end=0.5),))
    with pytest.raises(ValueError, match="no bucket is open at 75% of the run"):
        bucket_of(75, 100, 0, config)


def test_a_step_always_gives_the_same_batch() -> None:
    one = source(SMALL)
    a, other, b = one(3), one(4), one(3)
    assert a["images"].shape == (4, 2, 2, 14, 28, 3)
    for name, array in a.items():
        np.testing.assert_array_equal(array, b[name])
    assert (np.asarray(a["images"]) != np.asarray(other["images"])).any()
    assert (np.asarray(a["w2c"]) != np.asarray(other["w2c"])).any()


def test_no_scene_is_drawn_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in neighbouring steps and microbatches nor in buckets of equal batch size."""

    def numbered(_: object, stream: int, number: jax.Array, count: int) -> dict[str, jax.Array]:
        images = jax.numpy.full((count, 2, 1, 1, 3), 1000.0 * stream + number)
        return {"images": images}

    monkeypatch.setattr(procedural, "scene_batch", numbered)
    buckets = (*SMALL.buckets, BatchShape(2, 28, 14, batch=2))
    config = dataclasses.replace(SMALL, buckets=buckets, jitter=None, shuffle_views=False)
    made = ProceduralSource(config, 10, 5, make_mesh(ONE, jax.devices()[:1]))
    drawn = [
        float(made.microbatch(bucket, np.uint32(step), np.uint32(slot))["images"].ravel()[0])
        for bucket in buckets
        for step in range(3)
        for slot in range(config.microbatches)
    ]
    assert len(set(drawn)) == len(drawn) == 2 * 3 * 4


def test_every_microbatch_has_its_own_augmentation() -> None:
    images = jax.numpy.full((2, 2, 14, 28, 3), 0.5).at[..., 1].set(0.25)
    batch = {name: jax.numpy.zeros((2, 2)) for name in ("depth", "valid")} | {"images": images}
    seen = {
        np.asarray(finish(microbatch_key(5, step, slot), batch, SMALL.buckets[0], SMALL)["images"])
        .round(4)
        .tobytes()
        for step in range(2)
        for slot in range(3)
    }
    assert len(seen) == 6


def test_the_mesh_does_not_change_the_batch() -> None:
    one = source(SMALL)(3)
    many = source(SMALL, MeshConfig(data=2, fsdp=2, views=2), devices=8)(3)
    assert len({str(array) for array in np.asarray(one["w2c"][:, 0])}) == 4
    for name, array in many.items():
        assert array.sharding.shard_shape(array.shape)[:3] == (1, 2, 1)
        np.testing.assert_allclose(array, one[name], atol=1e-5)


def test_microbatches_and_views_must_divide_over_the_mesh() -> None:
    with pytest.raises(ValueError, match="1 microbatches of 2 views do not divide evenly"):
        source(dataclasses.replace(SMALL, microbatches=1), MeshConfig(data=2), devices=2)


def test_augmentation_changes_colours_and_order_only() -> None:
    plain = dataclasses.replace(SMALL, jitter=None, shuffle_views=False)
    raw, seen = source(plain)(3), source(SMALL)(3)
    for scene in range(2):
        rows = [np.asarray(d["depth"][0, scene]).reshape(2, -1) for d in (raw, seen)]
        matches = [np.array_equal(rows[1], rows[0][list(o)]) for o in ([0, 1], [1, 0])]
        assert sum(matches) == 1
    assert np.abs(np.sort(raw["images"], 2) - np.sort(seen["images"], 2)).max() > 1e-3
