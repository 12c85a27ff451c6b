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

    A step folder is renamed to its number once complete, and older ones are removed after that: a
    run killed while saving keeps its earlier steps. The step is also the position in the data.

    Args:
      directory: of the step folders.
      keep: newest steps to keep; the first save also removes unfinished folders. None = read only,
        safe during a run.
      keep_every: multiples of this many steps are kept for good; 0 = none.

    Raises:
      UserError: the directory does not exist and `keep` is None.
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
            # Closing repeats the error of a failed save, which `wait` has raised.
            with contextlib.suppress(Exception):
                self._orbax.close()

    @property
    def latest(self) -> int | None:
        """Newest complete step, None if there is none; waits for a pending save."""
        self.wait()
        newest = self._orbax.latest
        return None if newest is None else newest.step

    def save(self, state: TrainState, config: TrainConfig) -> int:
        """Save `state` in the background, remove steps that are not kept, and return the step.

        The state's buffers may be overwritten on return. Waits for a pending save and raises its
        error.
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
        """Wait until the pending save is complete.

        Raises:
          UserError: the save failed.
        """
        pending, self._pending = self._pending, None
        if pending is None:
            return
        try:
            pending.result()
        except Exception as error:
            raise UserError(
                f"a checkpoint could not be written to {self.directory} ({error}), the ones before "
                "it are valid: free space or check the disk"
            ) from error

    def restore(self, like: TrainState, step: int | None = None) -> TrainState:
        """Read the state of a step (default: the newest), sharded and typed as `like`.

        Args:
          like: arrays or `jax.ShapeDtypeStruct`s.
          step: None = the newest.

        Raises:
          UserError: the step does not exist, or its files are damaged.
        """
        with self._reading(step) as chosen:
            return self._orbax.load(chosen, _targets(like))

    def restore_weights(self, like: Any, which: Weights = "ema", step: int | None = None) -> Any:
        """Read parameters without the moments.

        Args:
          like: arrays or `jax.ShapeDtypeStruct`s of the parameters.
          which: the moving average, or the parameters themselves.
          step: None = the newest.
        """
        context = ocp.Context()
        context.pytree.loading.partial_load = True
        with context, self._reading(step) as chosen:
            return self._orbax.load(chosen, {which: _targets(like)})[which]

    def note(self, step: int | None = None) -> dict[str, Any]:
        """Read a step's metadata: `config` as JSON, `config_digest` and `versions`."""
        with self._reading(step) as chosen:
            note: Any = self._orbax.metadata(chosen).custom_metadata
        if not isinstance(note, dict) or "config" not in note:
            raise UserError(
                f"checkpoint {self.directory} contains no configuration, so it is not a run's: "
                "name the work directory of a run"
            )
        return note

    def config(self, step: int | None = None) -> TrainConfig:
        """Read the configuration of a step."""
        text = self.note(step)["config"]
        try:
            values = json.loads(text)
        except (ValueError, TypeError) as error:
            raise UserError(
                f"checkpoint {self.directory} contains a damaged configuration ({error}): delete "
                "its newest step to use the one before"
            ) from error
        return from_json(TrainConfig, values)

    @contextlib.contextmanager
    def _reading(self, step: int | None) -> Iterator[int]:
        """Yield the number of a step; Orbax's errors about damaged files become a UserError."""
        chosen = self.latest if step is None else step
        if chosen is None:
            raise UserError(_NOTHING.format(self.directory))
        try:
            yield chosen
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"checkpoint {self.directory / str(chosen)} is damaged or of another model "
                f"({type(error).__name__}): delete that folder to use the step before it, or name "
                "another run"
            ) from error


def _policy(keep: int | None, keep_every: int) -> Any:
    """The steps to keep. Any: Orbax's classes do not match their own protocol."""
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
    """Shapes and shardings; arrays without a sharding are read onto the first device."""
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def target(leaf: Any) -> jax.ShapeDtypeStruct:
        sharding = getattr(leaf, "sharding", None) or device
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(target, like)


def _place(array: np.ndarray, sharding: jax.sharding.Sharding) -> jax.Array:
    """Shard a host array that every process has."""
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def start_or_resume(
    checkpoints: Checkpoints,
    initial: Callable[[], TrainState],
    mesh: Mesh,
    pretrained: Callable[[Any], tuple[Any, str]] | None = None,
) -> tuple[TrainState, str]:
    """Return the newest saved state, or the initial one, on `mesh`, and a line that describes it.

    Args:
      checkpoints: of the run; a state may have been saved from another mesh.
      initial: builds the state before the first step; only its shapes are used when resuming.
      mesh: the devices.
      pretrained: returns the parameters of a new run for its random ones, both on the host, and a
        report; None = the random ones are used.
    """
    shapes = jax.eval_shape(initial)
    layout = shardings(shapes, mesh)
    if checkpoints.latest is None:
        state = jax.jit(initial, out_shardings=layout)()
        if pretrained is None:
            return state, f"starting from scratch, checkpoints in {checkpoints.directory}"
        params, report = pretrained(on_host(state.params, mesh))
        placed = jax.tree.map(_place, params, layout.params)
        ema = jax.tree.map(jnp.copy, placed)
        return dataclasses.replace(state, params=placed, ema=ema), report
    state = checkpoints.restore(laid_out(shapes, layout))
    return state, f"resuming at step {checkpoints.latest} from {checkpoints.directory}"
