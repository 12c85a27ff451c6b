"""The plan of a run, against independent counts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import pytest

from zipmap_jax.data.config import BatchShape, DataConfig, SourceConfig
from zipmap_jax.data.roots import missing_sources, require_sources
from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.models.presets import preset
from zipmap_jax.nn.config import CameraHeadConfig, DenseHeadConfig, EmbedderConfig
from zipmap_jax.train.config.schema import MeshConfig, StartConfig, TrainConfig
from zipmap_jax.train.config.stages import stage
from zipmap_jax.train.plan.plan import (
    TrainingPlan,
    conclusion,
    devices_to_plan,
    plan_run,
    problems,
    split_bytes,
)
from zipmap_jax.train.plan.shapes import batch_shapes, largest, shape_shares
from zipmap_jax.tree import tree_bytes

TINY = TrainConfig(
    name="test",
    model=ZipMapConfig(
        embedder=EmbedderConfig(width=32, depth=0, heads=2, image_size=42),
        depth=4,
        heads=2,
        taps=(0, 1, 2, 3),
        camera=CameraHeadConfig(kind="mlp"),
        dense=DenseHeadConfig(features=8, out_channels=(8, 8, 8, 8), hidden=4),
    ),
    data=DataConfig(
        buckets=(
            BatchShape(2, 42, 42, batch=3, weight=3.0, end=0.5),
            BatchShape(4, 42, 42, batch=1),
        ),
        microbatches=4,
    ),
    steps=100,
)


@pytest.fixture(scope="module")
def tiny() -> TrainingPlan:
    return plan_run(dataclasses.replace(TINY, mesh=MeshConfig(fsdp=2)), 4)


def test_plan_of_a_small_run(tiny: TrainingPlan) -> None:
    assert tiny.mesh == {"data": 2, "fsdp": 2, "views": 1}
    assert tiny.microbatches_per_device == 1
    assert tiny.problems == ()
    # The first bucket has three quarters of the first half of the run.
    assert tiny.shapes == {(2, 42, 42, 3, 0): 0.375, (4, 42, 42, 1, 0): 0.625}
    assert tiny.images == (4 * (0.375 * 6 + 0.625 * 4), 16, 24)
    assert tiny.sources == (("procedural", "", 1.0, True),)
    count = sum(tiny.parameters.values())
    assert tiny.memory["moments"] > tiny.memory["parameters"] > 4 * count / 2
    assert tiny.memory["moving average"] == tiny.memory["parameters"]
    assert tiny.memory["gathered parameters"] == 4 * count
    assert tiny.memory["largest batch"] == tree_bytes(batch_shapes(TINY.data.buckets[0], 3))


def test_a_plan_for_more_devices_than_microbatches_is_of_more_microbatches() -> None:
    config = dataclasses.replace(TINY, mesh=MeshConfig(fsdp=2))
    large = plan_run(config, 6)
    assert large.mesh == {"data": 3, "fsdp": 2, "views": 1}
    assert large.microbatches_per_device == 1
    assert large.images == (6 * (0.375 * 6 + 0.625 * 4), 24, 36)
    (problem,) = large.problems
    assert (
        problem == "4 microbatches do not divide evenly over 6 devices: give --data.microbatches 6"
    )


def test_a_machine_that_is_too_small_plans_for_a_larger_one() -> None:
    eight = dataclasses.replace(TINY, mesh=MeshConfig(fsdp=8))
    assert [devices_to_plan(eight, here) for here in (1, 4, 8, 16)] == [64, 64, 8, 16]
    config = dataclasses.replace(TINY, mesh=MeshConfig(data=3, fsdp=2, views=2))
    assert devices_to_plan(config, 1) == 12
    assert devices_to_plan(dataclasses.replace(TINY, mesh=MeshConfig(fsdp=24)), 1) == 72
    assert devices_to_plan(TINY, 1) == 1


def test_text_of_a_plan(tiny: TrainingPlan) -> None:
    text = "\n".join(tiny.sections())
    assert "test: 100 steps" in text
    assert "devices: 4 (data 2, fsdp 2, views 1); 4 microbatches, 1 per device; 19.0 images" in text
    assert "programs to compile: 2" in text
    assert "  2 views x 3, width 42: 42 37.50%" in text
    assert "state and batch per device: 0.0 GiB" in text
    assert "--compile-for here or h200" in text
    assert conclusion(tiny.problems) == "ready to start"
    assert conclusion(["a", "b"]) == "not ready to start:\n  a\n  b"


def test_shares_are_those_of_the_recipe() -> None:
    shares = shape_shares(stage("stage1_static"))
    assert len(shares) == 70
    assert sum(shares.values()) == pytest.approx(1)
    assert sum(p for shape, p in shares.items() if shape[0] == 32) == pytest.approx(0.255, abs=1e-3)


def test_extremes_of_memory() -> None:
    both = largest(stage("state_query"))
    assert [(b.views, b.targets, b.batch, b.height) for b in both] == [
        (22, 22, 1, 518),
        (2, 3, 8, 518),
    ]
    both = largest(stage("stage1_static"))
    assert [(b.views, b.batch, b.height) for b in both] == [(2, 24, 518), (48, 1, 518)]


def test_all_problems_are_listed(tmp_path: Path) -> None:
    config = dataclasses.replace(
        TINY,
        start=StartConfig("weights", str(tmp_path / "nothing")),
        mesh=MeshConfig(fsdp=2, views=4),
        data=dataclasses.replace(
            TINY.data,
            microbatches=3,
            engine="loader",
            mixture=(SourceConfig("scannet"), SourceConfig("co3d", root=str(tmp_path))),
        ),
    )
    obstacles = problems(config, 8)
    assert len(obstacles) == 5
    assert obstacles[0].startswith("3 microbatches do not divide evenly over 2 devices")
    assert obstacles[1].startswith("2 views cannot be split over mesh.views=4")
    assert "nothing to start from" in obstacles[2]
    assert obstacles[3].startswith("1 of 2 data sets are missing: scannet;")
    wrong = problems(dataclasses.replace(TINY, mesh=MeshConfig(fsdp=8)), 1)
    gap = dataclasses.replace(TINY.data, buckets=TINY.data.buckets[:1])
    (line,) = problems(dataclasses.replace(TINY, data=gap), 1)
    assert line.startswith("no bucket is open during 50% of the run")
    assert wrong[0].startswith("the mesh data 1 x fsdp 8 x views 1 is for 8 devices, not 1")


def test_missing_sources(tmp_path: Path) -> None:
    config = stage("stage2_dynamic")
    assert len(missing_sources(config.data)) == 29
    with pytest.raises(ValueError, match="29 of the 29 data sets of the mixture") as caught:
        require_sources(config.data)
    assert all(source.name in str(caught.value) for source in config.data.mixture)

    for source in config.data.mixture[1:]:
        (tmp_path / source.name).mkdir()
    data = dataclasses.replace(config.data, root=str(tmp_path))
    config = dataclasses.replace(config, data=data)
    assert [source.name for source in missing_sources(config.data)] == ["aria_syn_envir"]
    unused = (dataclasses.replace(data.mixture[0], weight=0.0), *data.mixture[1:])
    config = dataclasses.replace(config, data=dataclasses.replace(data, mixture=unused))
    assert missing_sources(config.data) == []
    with pytest.raises(ValueError, match="this version has no reader for arkitscenes, blendedmvs"):
        require_sources(config.data)
    assert any("no reader for" in problem for problem in problems(config, 8))


def test_invalid_mixtures() -> None:
    def mixed(*mixture: SourceConfig) -> TrainConfig:
        data = dataclasses.replace(TINY.data, engine="loader", mixture=mixture)
        return dataclasses.replace(TINY, data=data)

    with pytest.raises(ValueError, match="the mixture is empty"):
        require_sources(mixed().data)
    with pytest.raises(ValueError, match="no data set 'scanet': did you mean 'scannet'"):
        require_sources(mixed(SourceConfig("scanet")).data)
    require_sources(mixed(SourceConfig("procedural"), SourceConfig("scannet", weight=0.0)).data)
    require_sources(mixed(SourceConfig("posed_folder", root="tests")).data)
    require_sources(TINY.data)


def test_limits_of_the_views_axis() -> None:
    bucket = BatchShape(views=4, height=112, width=112, targets=3)
    data = dataclasses.replace(TINY.data, buckets=(bucket,))
    config = dataclasses.replace(TINY, data=data, mesh=MeshConfig(views=2))
    assert problems(config, 2) == ["3 views cannot be split over mesh.views=2 devices"]
    streaming = dataclasses.replace(TINY, model=preset("tiny", "streaming"), mesh=config.mesh)
    assert any("leave mesh.views at 1" in problem for problem in problems(streaming, 2))


def test_bytes_of_a_part() -> None:
    tree = {"a": {"kernel": jnp.zeros((5, 6))}, "b": {"kernel": jnp.zeros((5, 5))}}
    tree |= {"scale": jnp.zeros(6)}
    assert tree_bytes(tree) == 4 * (30 + 25 + 6)
    assert split_bytes(tree, 3) == 4 * (10 + 25 + 6)
