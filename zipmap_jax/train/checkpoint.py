"""Checkpoints of a run: atomic orbax folders, the last few kept, each with its configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
from orbax.checkpoint import v1 as ocp

from zipmap_jax.train.config import TrainConfig, from_json, to_json
from zipmap_jax.train.sharding import shardings

if TYPE_CHECKING:
    from collections.abc import Callable

    from jax.sharding import Mesh

    from zipmap_jax.train.state import TrainState

Weights = Literal["ema", "params"]
_NOTHING = "no checkpoint in {}: give the folder of a training run"


class Checkpoints:
    """The checkpoints of one run, `DIRECTORY/STEP/`; use as a context manager.

    A step folder appears under its name only when it is complete; a run killed while saving leaves
    the earlier steps untouched.

    Args:
      directory: of the step folders.
      keep: newest steps that a save leaves; what a killed run left unfinished is removed by the
        first save. None = for reading: nothing is removed, so that a run may be looked at while it
        goes on.

    Raises:
      ValueError: there is no such directory to read.
    """

    def __init__(self, directory: str | Path, keep: int | None = None) -> None:
        policies = ocp.training.preservation_policies
        self.directory = Path(directory).absolute()
        if keep is None and not self.directory.is_dir():
            raise ValueError(_NOTHING.format(self.directory))
        # Any: these classes do not match their own protocol.
        policy: Any = policies.PreserveAll() if keep is None else policies.LatestN(keep)
        self._orbax = ocp.training.Checkpointer(
            str(self.directory),
            preservation_policy=policy,
            cleanup_tmp_directories=keep is not None,
        )

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self._orbax.close()

    @property
    def latest(self) -> int | None:
        """Newest complete step, None when there is none."""
        newest = self._orbax.latest
        return None if newest is None else newest.step

    def save(self, state: TrainState, config: TrainConfig) -> int:
        """Write `state` as its step and drop the oldest; returns the step.

        It blocks until the folder is in place: the next step donates the state's buffers.
        """
        step = int(state.step)
        if step != self.latest:
            note: dict[str, Any] = {"config": json.dumps(to_json(config))}
            self._orbax.save(step, state, force=True, custom_metadata=note)
        return step

    def restore(self, like: TrainState, step: int | None = None) -> TrainState:
        """The state of a step (default: the newest), placed and typed as `like`.

        Args:
          like: arrays or `jax.ShapeDtypeStruct`s of the wanted tree.
        """
        return self._orbax.load(self._chosen(step), _targets(like))

    def restore_weights(self, like: Any, which: Weights = "ema", step: int | None = None) -> Any:
        """Parameters alone, without reading the moments.

        Args:
          like: arrays or `jax.ShapeDtypeStruct`s of the parameters.
          which: the moving average, or the parameters themselves.
        """
        context = ocp.Context()
        context.pytree.loading.partial_load = True
        with context:
            return self._orbax.load(self._chosen(step), {which: _targets(like)})[which]

    def config(self, step: int | None = None) -> TrainConfig:
        """The configuration a step was saved with."""
        note: Any = self._orbax.metadata(self._chosen(step)).custom_metadata
        if not isinstance(note, dict) or "config" not in note:
            raise ValueError(
                f"checkpoint {self.directory} holds no configuration: it is not a run's"
            )
        return from_json(TrainConfig, json.loads(note["config"]))

    def _chosen(self, step: int | None) -> int:
        chosen = self.latest if step is None else step
        if chosen is None:
            raise ValueError(_NOTHING.format(self.directory))
        return chosen


def _targets(like: Any) -> Any:
    """Shapes with the devices they are to be read onto."""
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])

    def target(leaf: Any) -> jax.ShapeDtypeStruct:
        sharding = getattr(leaf, "sharding", None) or device
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(target, like)


def start_or_resume(
    checkpoints: Checkpoints, initial: Callable[[], TrainState], mesh: Mesh
) -> tuple[TrainState, str]:
    """The newest saved state, or the initial one, laid out on `mesh`; and a line that says which.

    Args:
      checkpoints: the run's; a state may have been saved from another mesh.
      initial: builds the state before the first step; only its shapes are used when resuming.
      mesh: the devices.
    """
    shapes = jax.eval_shape(initial)
    layout = shardings(shapes, mesh)
    if checkpoints.latest is None:
        state = jax.jit(initial, out_shardings=layout)()
        return state, f"starting from scratch, checkpoints in {checkpoints.directory}"
    like = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        layout,
    )
    state = checkpoints.restore(like)
    return state, f"resuming at step {checkpoints.latest} from {checkpoints.directory}"
