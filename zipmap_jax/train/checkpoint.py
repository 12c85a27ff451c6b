"""Checkpoints of a run: written in the background, atomic, each with its configuration."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1 as ocp

from zipmap_jax.config_io import from_json, to_json
from zipmap_jax.errors import UserError
from zipmap_jax.train.config.digest import config_digest
from zipmap_jax.train.config.schema import TrainConfig
from zipmap_jax.train.distributed import on_host
from zipmap_jax.train.sharding import laid_out, shardings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jax.sharding import Mesh

    from zipmap_jax.train.state import TrainState

Weights = Literal["ema", "params"]
_PACKAGES = ("zipmap-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
_NOTHING = "no checkpoint in {}: give the folder of a training run"


class Checkpoints:
    """The checkpoints of one run, `DIRECTORY/STEP/`; use as a context manager.

    A step folder appears under its name only when it is complete, and older ones go after that: a
    run killed while saving has all steps it had before. The number of the step is also the position
    in the data, whose randomness is addressed by it.

    Args:
      directory: of the step folders.
      keep: newest steps that a save leaves; what a killed run left unfinished is removed by the
        first save. None = for reading: nothing is removed, so that a run may be looked at while it
        goes on.
      keep_every: multiples of this many steps stay for good; 0 = none.

    Raises:
      UserError: there is no such directory to read.
    """

    def __init__(self, directory: str | Path, keep: int | None = None, keep_every: int = 0) -> None:
        self.directory = Path(directory).absolute()
        if keep is None and not self.directory.is_dir():
            raise UserError(_NOTHING.format(self.directory))
        self._pending: ocp.AsyncResponse[bool] | None = None
        self._orbax = ocp.training.Checkpointer(
            str(self.directory),
            preservation_policy=_policy(keep, keep_every),
            cleanup_tmp_directories=keep is not None,
        )

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.wait()
        finally:
            # What closing can raise is the error of a save, which was raised once.
            with contextlib.suppress(Exception):
                self._orbax.close()

    @property
    def latest(self) -> int | None:
        """Newest complete step, None when there is none; waits for a save under way."""
        self.wait()
        newest = self._orbax.latest
        return None if newest is None else newest.step

    def save(self, state: TrainState, config: TrainConfig) -> int:
        """Write `state` as its step, in the background, and drop what is not kept.

        It returns the step as soon as the state is copied to the host, so that the next step may
        overwrite the state's buffers. A save still under way is waited for first; if it failed, its
        error is raised here.
        """
        step = int(state.step)
        if step != self.latest:
            # Orbax holds every buffer on the host before it returns; on the CPU it holds the buffer
            # itself, and JAX then copies instead of overwriting a donated one.
            self._pending = self._orbax.save_async(
                step, state, force=True, custom_metadata=_note(config)
            )
        return step

    def wait(self) -> None:
        """Wait until the last save is in its place.

        Raises:
          UserError: it could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is None:
            return
        try:
            pending.result()
        except Exception as error:
            raise UserError(
                f"a checkpoint could not be written to {self.directory} ({error}), the ones before "
                "it are good: make room or check the disk"
            ) from error

    def restore(self, like: TrainState, step: int | None = None) -> TrainState:
        """The state of a step (default: the newest), placed and typed as `like`.

        Args:
          like: arrays or `jax.ShapeDtypeStruct`s of the wanted tree.

        Raises:
          UserError: there is no such step, or its files are damaged.
        """
        with self._reading(step) as chosen:
            return self._orbax.load(chosen, _targets(like))

    def restore_weights(self, like: Any, which: Weights = "ema", step: int | None = None) -> Any:
        """Parameters alone, without reading the moments.

        Args:
          like: arrays or `jax.ShapeDtypeStruct`s of the parameters.
          which: the moving average, or the parameters themselves.
        """
        context = ocp.Context()
        context.pytree.loading.partial_load = True
        with context, self._reading(step) as chosen:
            return self._orbax.load(chosen, {which: _targets(like)})[which]

    def note(self, step: int | None = None) -> dict[str, Any]:
        """What a step was saved with: `config` as JSON, `config_digest` and `versions`."""
        with self._reading(step) as chosen:
            note: Any = self._orbax.metadata(chosen).custom_metadata
        if not isinstance(note, dict) or "config" not in note:
            raise UserError(
                f"checkpoint {self.directory} holds no configuration, so it is not a run's: "
                "name the work directory of a run"
            )
        return note

    def config(self, step: int | None = None) -> TrainConfig:
        """The configuration a step was saved with."""
        text = self.note(step)["config"]
        try:
            values = json.loads(text)
        except (ValueError, TypeError) as error:
            raise UserError(
                f"checkpoint {self.directory} holds a damaged configuration ({error}): delete its "
                "newest step to use the one before"
            ) from error
        return from_json(TrainConfig, values)

    @contextlib.contextmanager
    def _reading(self, step: int | None) -> Iterator[int]:
        """The number of a step; Orbax's errors of damaged files become one sentence."""
        chosen = self._chosen(step)
        try:
            yield chosen
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"checkpoint {self.directory / str(chosen)} is damaged or of another model "
                f"({type(error).__name__}): delete that folder to use the step before it, or name "
                "another run"
            ) from error

    def _chosen(self, step: int | None) -> int:
        chosen = self.latest if step is None else step
        if chosen is None:
            raise UserError(_NOTHING.format(self.directory))
        return chosen


def _policy(keep: int | None, keep_every: int) -> Any:
    """What a save leaves. Any: Orbax's classes do not match their own protocol."""
    policies = ocp.training.preservation_policies
    if keep is None:
        return policies.PreserveAll()
    if not keep_every:
        return policies.LatestN(keep)
    return policies.AnyPreservationPolicy(
        [policies.LatestN(keep), policies.EveryNSteps(keep_every)]
    )


def _note(config: TrainConfig) -> dict[str, Any]:
    return {
        "config": json.dumps(to_json(config)),
        "config_digest": config_digest(config),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # run from a folder, not installed
        return "unknown"


def _targets(like: Any) -> Any:
    """Shapes with the devices they are to be read onto."""
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def target(leaf: Any) -> jax.ShapeDtypeStruct:
        sharding = getattr(leaf, "sharding", None) or device
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(target, like)


def _place(array: np.ndarray, sharding: jax.sharding.Sharding) -> jax.Array:
    """A host array that every process has, as `sharding` wants it."""
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def start_or_resume(
    checkpoints: Checkpoints,
    initial: Callable[[], TrainState],
    mesh: Mesh,
    given: Callable[[Any], tuple[Any, str]] | None = None,
) -> tuple[TrainState, str]:
    """The newest saved state, or the initial one, laid out on `mesh`; and a line that says which.

    Args:
      checkpoints: the run's; a state may have been saved from another mesh.
      initial: builds the state before the first step; only its shapes are used when resuming.
      mesh: the devices.
      given: from fresh parameters to those a new run starts from, on the host, and a report;
        None = the fresh ones.
    """
    shapes = jax.eval_shape(initial)
    layout = shardings(shapes, mesh)
    if checkpoints.latest is None:
        state = jax.jit(initial, out_shardings=layout)()
        if given is None:
            return state, f"starting from scratch, checkpoints in {checkpoints.directory}"
        params, report = given(on_host(state.params, mesh))
        placed = jax.tree.map(_place, params, layout.params)
        again = jax.tree.map(jnp.copy, placed)
        return dataclasses.replace(state, params=placed, ema=again), report
    state = checkpoints.restore(laid_out(shapes, layout))
    return state, f"resuming at step {checkpoints.latest} from {checkpoints.directory}"
