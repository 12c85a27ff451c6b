"""The stages of the recipe: numbers, files in `configs/`, and steps at full size."""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import importlib.util
import json
from pathlib import Path
from typing import Any

import jax
import pytest

from zipmap_jax.config_io import from_json, to_json
from zipmap_jax.data.batch_arrays import POSED_VIEWS
from zipmap_jax.data.config import BatchShape, JitterConfig
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.nn.config import POLICIES
from zipmap_jax.train.compiled_step import objective
from zipmap_jax.train.config.registry import available, load
from zipmap_jax.train.config.schema import MeshConfig, TrainConfig
from zipmap_jax.train.config.stages import STAGES, stage
from zipmap_jax.train.linear_probe import with_probe
from zipmap_jax.train.optimizer import module_of, peak_rates
from zipmap_jax.train.plan.shapes import batch_shapes, largest
from zipmap_jax.train.sharding import make_mesh
from zipmap_jax.train.state import initial_state
from zipmap_jax.train.step import train_step
from zipmap_jax.tree import path_name

ROOT = Path(__file__).parents[3]
NAMES = list(STAGES)


@functools.cache
def model_of(name: str) -> tuple[ZipMap, Any]:
    config = stage(name)
    model = ZipMap(config.model, POLICIES[config.policy], config.remat)
    return model, jax.eval_shape(model.init, jax.random.key(0))


def column(what: str) -> dict[str, Any]:
    """One row of the recipe's table, by stage."""

    def value(config: TrainConfig) -> Any:
        for part in what.split("."):
            config = getattr(config, part)
        return config

    return {name: value(stage(name)) for name in NAMES}


def by_name(*values: Any) -> dict[str, Any]:
    return dict(zip(NAMES, values, strict=True))


FAST = (("global_blocks/ttt/*", 1e-4), ("local_point_head/*", 1e-4))
CAMERA = (("camera_mlp_head/*", 1e-4),)


@pytest.mark.parametrize(
    ("what", "values"),
    [
        ("steps", (80_000, 40_000, 60_000, 60_000, 30_000, 100_000, 80_000)),
        ("optim.lr", (1e-5, 1e-5, 1e-5, 1e-5, 1e-5, 1e-4, 1e-5)),
        ("optim.lr_groups", (FAST, (), (), CAMERA, (), (), FAST)),
        ("optim.lr_floor", (1e-8,) * 7),
        ("optim.warmup", (0.05,) * 7),
        ("optim.weight_decay", (0.05,) * 7),
        ("optim.clip", (1.0,) * 7),
        (
            "optim.clip_modules",
            ((), (), (), (("camera_mlp_head", 2.0),), (("camera_mlp_head", 2.0),), (), ()),
        ),
        ("ema.start", (200, 200, 200, 200, 200, 3000, 200)),
        ("ema.decay", (0.999,) * 7),
        (
            "model.variant",
            (
                "ref_view",
                "ref_view",
                "offline",
                "streaming",
                "streaming",
                "state_query",
                "ref_view",
            ),
        ),
        ("model.affine_invariant", (False, False, True, True, True, False, False)),
        ("model.window", (None, None, None, 1, 1, None, None)),
        (
            "loss.camera_kind",
            ("absolute", "absolute", "pairwise", "pairwise", "pairwise", "absolute", "absolute"),
        ),
        ("data.min_views", (24, 24, 24, 12, 24, 24, 24)),
        ("data.prefetch", (4, 4, 3, 2, 2, 3, 4)),
        ("data.jitter", (JitterConfig(),) * 5 + (None, JitterConfig())),
        ("start.kind", ("vggt", *("weights",) * 5, "vggt")),
        ("start.weights", ("params",) * 7),
        ("seed", (42,) * 7),
        ("policy", ("bf16",) * 7),
        ("remat", (True,) * 7),
        ("eval_every", (5000, 5000, 5000, 5000, 3000, 5000, 5000)),
        ("keep_every", (5000, 5000, 5000, 5000, 3000, 5000, 5000)),
    ],
)
def test_table_of_the_recipe(what: str, values: tuple[Any, ...]) -> None:
    assert column(what) == by_name(*values)


def test_stages_follow_each_other() -> None:
    for name, row in STAGES.items():
        start = stage(name).start.path
        assert start == (f"runs/{row.start}" if row.start else "weights/vggt_1b.pt")
        assert not row.start or row.start in STAGES
        assert len(stage(name).data.buckets) <= 70


def test_unknown_stage() -> None:
    with pytest.raises(ValueError, match="unknown stage 'stage4': choose one of stage1_static"):
        stage("stage4")


@pytest.mark.parametrize("name", NAMES)
def test_file_in_configs(name: str) -> None:
    path = ROOT / "configs" / f"{name}.py"
    spec = importlib.util.spec_from_file_location("a_config", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.get_config() == stage(name)
    doc = " ".join((module.__doc__ or "").split())
    assert f"python train.py --config {name}" in doc
    assert "Starts from" in doc
    assert "Result: " in doc


def test_every_file_can_be_named() -> None:
    files = {path.stem for path in (ROOT / "configs").glob("*.py")}
    assert files == set(available())
    for name in files:
        assert load(name).name == name
        assert available()[name]


@pytest.mark.parametrize("name", NAMES)
def test_survives_json(name: str) -> None:
    config = stage(name)
    assert from_json(TrainConfig, json.loads(json.dumps(to_json(config)))) == config


@pytest.mark.parametrize("name", NAMES)
def test_every_pattern_matches_parameters(name: str) -> None:
    config, (_, params) = stage(name), model_of(name)
    names = [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    patterns = [pattern for pattern, _ in config.optim.lr_groups]
    for pattern in (*patterns, *config.optim.frozen):
        assert fnmatch.filter(names, pattern), pattern
    modules = {module_of(path) for path in names}
    assert {module for module, _ in config.optim.clip_modules} <= modules


def test_new_parts_learn_ten_times_as_fast() -> None:
    config, (_, params) = stage("stage1_static"), model_of("stage1_static")
    rates = peak_rates(params, config.optim)
    # 277.05 M of fast-weight layers and 32.65 M of the point head, counted on the reference.
    sizes = jax.tree.map(lambda leaf, rate: leaf.size * (rate == 1e-4), params, rates)
    assert sum(jax.tree.leaves(sizes)) / 1e6 == pytest.approx(309.70, abs=0.01)


@pytest.mark.parametrize(
    ("name", "million"),
    [("stage1_static", 1366.87), ("streaming_12", 1167.56), ("state_query", 1401.34)],
)
def test_parameters_as_counted_on_the_reference(name: str, million: float) -> None:
    _, params = model_of(name)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count / 1e6 == pytest.approx(million, abs=0.01)


def check_step(config: TrainConfig, bucket: BatchShape, microbatches: int) -> None:
    """Trace a step at full size on one device; the shapes of the state must be unchanged."""
    model = ZipMap(config.model)
    params = jax.eval_shape(lambda key: with_probe(model.init(key), config), jax.random.key(0))
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    state = jax.eval_shape(lambda params: initial_state(params, config.optim), params)
    step = functools.partial(train_step, loss=objective(config, None), config=config, mesh=mesh)
    after, metrics = jax.eval_shape(
        step, state, microbatches_of(bucket, microbatches), config.steps
    )
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == (
        jax.tree.map(lambda x: (x.shape, x.dtype), state)
    )
    assert metrics["loss"].shape == ()


def microbatches_of(bucket: BatchShape, microbatches: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of a batch, including target views of state queries."""
    batch = batch_shapes(bucket, bucket.batch)
    if bucket.targets:
        rendered = batch_shapes(dataclasses.replace(bucket, views=bucket.targets), bucket.batch)
        batch |= {f"target_{name}": rendered[name] for name in POSED_VIEWS}
    return {
        name: jax.ShapeDtypeStruct((microbatches, *leaf.shape), leaf.dtype)
        for name, leaf in batch.items()
    }


@pytest.mark.parametrize("name", ["stage1_static", "state_query"])
def test_a_step_at_full_size(name: str) -> None:
    check_step(stage(name), largest(stage(name))[0], microbatches=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", available())
def test_every_step_at_full_size(name: str) -> None:
    config = load(name)
    check_step(config, max(config.data.buckets, key=lambda b: b.views * b.height), microbatches=1)


@pytest.mark.slow
def test_a_step_over_all_microbatches() -> None:
    # Tracing takes longer and does not distinguish stages.
    config = stage("stage2_dynamic")
    check_step(config, config.data.buckets[-1], config.data.microbatches)


def test_old_configurations_stay_readable() -> None:
    data = to_json(stage("debug"))
    for name in ("mesh", "start", "keep_every", "compile_ahead"):
        del data[name]
    config = from_json(TrainConfig, data)
    assert config == dataclasses.replace(
        stage("debug"),
        mesh=TrainConfig.mesh,
        start=TrainConfig.start,
        keep_every=TrainConfig.keep_every,
        compile_ahead=TrainConfig.compile_ahead,
    )


@pytest.mark.parametrize("name", NAMES)
def test_published_stages_use_the_defaults_of_adamw(name: str) -> None:
    optim = stage(name).optim
    assert (optim.b1, optim.b2, optim.eps, optim.weight_decay) == (0.9, 0.999, 1e-8, 0.05)
    assert not optim.muon
