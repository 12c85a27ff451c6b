"""Checkpoints: written in the background, safe against kills, stored with their configuration."""

from __future__ import annotations

import dataclasses
import os
import resource
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.data.config import BatchShape, DataConfig
from zipmap_jax.errors import UserError
from zipmap_jax.models.presets import preset
from zipmap_jax.train.checkpoint import Checkpoints, start_or_resume
from zipmap_jax.train.config.digest import config_digest, differences
from zipmap_jax.train.config.schema import LogConfig, MeshConfig, TrainConfig
from zipmap_jax.train.resume import check_resumable
from zipmap_jax.train.sharding import make_mesh
from zipmap_jax.train.state import TrainState, initial_state

HERE = Path(__file__).parent
CONFIG = TrainConfig("test", preset("tiny"), DataConfig((BatchShape(2, 42, 42),)))


def state_of(step: int, size: int = 4) -> TrainState:
    tree = {"kernel": jnp.full((size,), step, jnp.float32)}
    number = jnp.int32(step)
    return TrainState(number, tree, jax.tree.map(jnp.copy, tree), {}, number, number)


def folders(directory: Path) -> set[int]:
    return {int(path.name) for path in directory.iterdir()}


def test_the_newest_and_the_periodic_ones_are_kept(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, keep=2, keep_every=20) as checkpoints:
        for step in (10, 20, 30, 35, 40, 50, 60, 65, 70):
            checkpoints.save(state_of(step), CONFIG)
    assert folders(tmp_path) == {20, 40, 60, 65, 70}
    # Another process continues like the first one.
    with Checkpoints(tmp_path, keep=2, keep_every=20) as checkpoints:
        checkpoints.save(state_of(75), CONFIG)
    assert folders(tmp_path) == {20, 40, 60, 70, 75}


def test_later_steps_do_not_change_a_pending_save(tmp_path: Path) -> None:
    size = 1 << 21  # large enough to be written while the next steps run

    @jax.jit
    def draw(step: int) -> TrainState:
        return state_of(step, size)

    following = jax.jit(lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0)
    with Checkpoints(tmp_path, keep=3) as checkpoints:
        state = following(draw(6))
        for _ in range(3):
            checkpoints.save(state, CONFIG)
            state = following(following(state))
        assert checkpoints.latest == 11
        for step in (7, 9, 11):
            restored = checkpoints.restore(jax.eval_shape(draw, 0), step)
            assert (np.asarray(restored.params["kernel"]) == step).all()


def test_a_failed_save_is_reported_and_keeps_older_steps(tmp_path: Path) -> None:
    tree = {"kernel": jax.random.normal(jax.random.key(0), (1 << 20,))}
    large = dataclasses.replace(state_of(2), params=tree)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(state_of(1), CONFIG)
        checkpoints.wait()
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))  # no file may be larger
        try:
            checkpoints.save(large, CONFIG)
            with pytest.raises(
                UserError, match=r"could not be written .* the ones before it are valid"
            ):
                checkpoints.wait()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        assert checkpoints.latest == 1
        restored = checkpoints.restore(jax.eval_shape(state_of, 0))
        assert (np.asarray(restored.params["kernel"]) == 1).all()


@pytest.mark.parametrize("saved", [(1, 8, 1), (8, 1, 1)])
def test_a_run_resumes_on_other_devices(saved: tuple[int, int, int], tmp_path: Path) -> None:
    """Every mesh restores the checkpoint of another bit-exactly, with its own shardings."""

    def fresh() -> TrainState:
        params = {"layer": {"kernel": jax.random.normal(jax.random.key(0), (16, 8))}}
        return initial_state(params, CONFIG.optim)

    first = make_mesh(MeshConfig(*saved))
    with Checkpoints(tmp_path) as checkpoints:
        state, _ = start_or_resume(checkpoints, fresh, first)
        state = jax.tree.map(lambda x: x + 3, state)  # unlike a fresh state
        checkpoints.save(state, CONFIG)
    for sizes in ((1, 1, 1), (2, 2, 2), (1, 8, 1), (2, 4, 1)):
        mesh = make_mesh(MeshConfig(*sizes), jax.devices()[: int(np.prod(sizes))])
        with Checkpoints(tmp_path) as checkpoints:
            restored, line = start_or_resume(checkpoints, fresh, mesh)
        assert line.startswith("resuming at step 3 ")
        jax.tree.map(np.testing.assert_array_equal, restored, state)
        for part in (restored.params, restored.ema):
            own = part["layer"]["kernel"].addressable_shards
            assert len(own) == mesh.size
            assert own[0].data.shape == (16, 8 // sizes[1])


def test_saving_a_step_twice_is_no_mistake(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        assert checkpoints.save(state_of(5), CONFIG) == 5
        assert checkpoints.save(state_of(5), CONFIG) == 5
        assert checkpoints.latest == 5


def test_a_kill_during_a_save_keeps_the_step_before(tmp_path: Path) -> None:
    kills = 8
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "XLA_FLAGS": ""}
    done = subprocess.run(
        [sys.executable, HERE / "killed_while_saving.py", tmp_path, str(kills)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    saved, begun = map(int, done.stdout.split())
    assert saved >= 2 * kills
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest in range(saved, begun + 1)


def test_the_note_describes_a_step(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(state_of(1), CONFIG)
        note = checkpoints.note()
        assert checkpoints.config() == CONFIG
    assert note["config_digest"] == config_digest(CONFIG)
    assert note["versions"]["jax"] == jax.__version__


def test_the_digest_covers_fields_that_determine_results() -> None:
    assert config_digest(CONFIG) == config_digest(dataclasses.replace(CONFIG))
    other_reports = dataclasses.replace(
        CONFIG, log=LogConfig(every=3), keep=9, name="x", mesh=MeshConfig(fsdp=2)
    )
    assert config_digest(other_reports) == config_digest(CONFIG)
    assert config_digest(dataclasses.replace(CONFIG, seed=1)) != config_digest(CONFIG)


def test_differences_are_named() -> None:
    optim = dataclasses.replace(CONFIG.optim, lr=2e-5, lr_groups=(("camera/*", 1e-4),))
    data = DataConfig((BatchShape(2, 42, 42, batch=2), BatchShape(3, 42, 42)))
    new = dataclasses.replace(CONFIG, optim=optim, data=data, keep=9)
    lines = differences(CONFIG, new)
    assert "optim.lr 1e-05 -> 2e-05" in lines
    assert "optim.lr_groups.0.1 nothing -> 0.0001" in lines
    assert "data.buckets.0.batch 1 -> 2" in lines
    assert "data.buckets.1.views nothing -> 3" in lines
    assert not any("keep" in line for line in lines)


def test_a_run_resumes_with_another_schedule_but_not_with_another_model(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        assert check_resumable(checkpoints, CONFIG) is None
        checkpoints.save(state_of(1), CONFIG)
        assert check_resumable(checkpoints, dataclasses.replace(CONFIG, keep=7)) is None
        line = check_resumable(checkpoints, dataclasses.replace(CONFIG, steps=7))
        assert line is not None
        assert line.endswith("the saved one: steps 1000 -> 7")
        model = dataclasses.replace(CONFIG.model, layer_scale_init=0.7)
        with pytest.raises(ValueError, match=r"another model .*\(model.layer_scale_init .* -> 0.7"):
            check_resumable(checkpoints, dataclasses.replace(CONFIG, model=model))
        frozen = dataclasses.replace(CONFIG.optim, frozen=("embedder/*",))
        with pytest.raises(ValueError, match=r"optim.frozen.0 embedder/mask_token -> embedder/\*"):
            check_resumable(checkpoints, dataclasses.replace(CONFIG, optim=frozen))
