"""The state at the beginning of a run: new, or from its newest checkpoint."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import jax

from zipmap_jax.errors import UserError
from zipmap_jax.train.checkpoint import start_or_resume
from zipmap_jax.train.config.digest import differences
from zipmap_jax.train.initial_weights import model_of, new_state, open_start, state_shapes
from zipmap_jax.train.optimizer import require_matches
from zipmap_jax.train.sharding import describe

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from zipmap_jax.train.checkpoint import Checkpoints
    from zipmap_jax.train.config.schema import TrainConfig
    from zipmap_jax.train.state import TrainState


def begin(
    config: TrainConfig, checkpoints: Checkpoints, mesh: Mesh
) -> tuple[TrainState, list[str]]:
    """Return the state of a new or resumed run on its devices, and lines that describe it.

    All inputs are checked before anything is compiled.

    Raises:
      UserError: a pattern of the optimizer matches nothing, the start does not exist or fit, or the
        checkpoints belong to another model or a later step.
    """
    shapes = state_shapes(config).params
    require_matches(shapes, config.optim)
    changed = check_resumable(checkpoints, config)
    if checkpoints.latest is None and config.start.kind != "random":
        pretrained = open_start(model_of(config), config.start, shapes)
    else:
        pretrained = None
    initial = functools.partial(new_state, config)
    state, line = start_or_resume(checkpoints, initial, mesh, pretrained)
    if int(state.step) > config.steps:
        workdir = checkpoints.directory.parent
        raise UserError(f"{workdir} is at step {int(state.step)} already: raise --steps")
    count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    title = f"{config.name}: {count / 1e6:.2f} M parameters on {describe(mesh)}; {line}"
    return state, [title, *([changed] if changed else [])]


def check_resumable(checkpoints: Checkpoints, config: TrainConfig) -> str | None:
    """Check that a configuration trains the same parameters as the checkpoints of a run.

    Args:
      checkpoints: of the run; it may have none.
      config: for the steps to come.

    Returns:
      One line that lists the changes; None if there are no changes or no checkpoints.

    Raises:
      UserError: the model or its trained parameters differ.
    """
    if checkpoints.latest is None:
        return None
    changed = differences(checkpoints.config(), config)
    # Parameters updated by Muon have other moments, and frozen ones have none.
    kept = ("model.", "optim.muon", "optim.frozen")
    if of_model := [line for line in changed if line.startswith(kept)]:
        raise UserError(
            f"{checkpoints.directory} holds checkpoints of another model than {config.name} "
            f"({', '.join(of_model)}): choose another --workdir, with --start.path to start from it"
        )
    if not changed:
        return None
    return f"resuming with a configuration other than the saved one: {', '.join(changed)}"
