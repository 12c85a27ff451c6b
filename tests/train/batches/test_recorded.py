"""Batches of the loader on the devices: floats, mask, split, independent of the mesh."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import jax
import numpy as np
import pytest

from tests.data.posed import write_scene
from zipmap_jax.data.config import BatchShape, DataConfig, SourceConfig
from zipmap_jax.train.batches.recorded import LoadedSource
from zipmap_jax.train.config.schema import MeshConfig
from zipmap_jax.train.sharding import make_mesh


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    root = tmp_path_factory.mktemp("recording")
    for number in range(1, 4):
        write_scene(root / f"scene{number}", number, 12)
    return DataConfig(
        buckets=(BatchShape(2, 14, 28, batch=1, targets=2),),
        microbatches=4,
        engine="loader",
        mixture=(SourceConfig("posed_folder", root=str(root)),),
        jitter=None,
    )


@contextlib.contextmanager
def opened(config: DataConfig, mesh: MeshConfig, devices: int) -> Iterator[LoadedSource]:
    where = make_mesh(mesh, jax.devices()[:devices])
    with LoadedSource(config, 10, 5, where) as source:
        yield source


def test_batches_are_the_same_on_any_mesh_and_after_a_jump(config: DataConfig) -> None:
    with opened(config, MeshConfig(), 1) as source:
        one = [jax.device_get(source(step)) for step in (3, 4)]
        assert source.failures.keys() == {"posed_folder"}
        bucket = config.buckets[0]
        shapes = {name: leaf.shape for name, leaf in source.shapes(bucket).items()}
    with opened(config, MeshConfig(data=2, fsdp=2, views=2), 8) as source:
        many = source(4)
    assert shapes == {name: array.shape for name, array in one[1].items()}
    for name, array in many.items():
        assert array.sharding.shard_shape(array.shape)[0] == 1
        np.testing.assert_allclose(array, one[1][name], atol=1e-6)
    assert (one[0]["w2c"] != one[1]["w2c"]).any()


def test_pictures_become_floats_and_depth_a_mask(config: DataConfig) -> None:
    with opened(config, MeshConfig(), 1) as source:
        batch = jax.device_get(source(0))
    assert batch["images"].shape == (4, 1, 2, 14, 28, 3)
    assert batch["target_images"].shape == (4, 1, 2, 14, 28, 3)
    assert batch["images"].dtype == np.float32
    assert 0.1 < batch["images"].max() <= 1
    np.testing.assert_array_equal(batch["valid"], batch["depth"] > 0)
    assert batch["detailed"].shape == (4, 1)


def test_uneven_batches_are_refused(config: DataConfig) -> None:
    bucket = dataclasses.replace(config.buckets[0], targets=3)
    config = dataclasses.replace(config, buckets=(bucket,))
    mesh = make_mesh(MeshConfig(views=2), jax.devices()[:2])
    with pytest.raises(ValueError, match="2 views and 3 targets do not divide evenly"):
        LoadedSource(config, 10, 5, mesh)
