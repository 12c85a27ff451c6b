"""How a run begins: from fresh or given parameters, or from its newest checkpoint."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import jax

from zipmap_jax.errors import UserError
from zipmap_jax.train.checkpoint import start_or_resume
from zipmap_jax.train.config.digest import differences
from zipmap_jax.train.initial_weights import (
    given_parameters,
    model_of,
    new_state,
    require_start,
    state_shapes,
)
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
    """The state of a new or a resumed run, laid out on its devices, and lines that describe it.

    Raises:
      UserError: the optimizer's patterns match nothing, the start is missing, or the checkpoints
        belong to another model or to a later step.
    """
    require_matches(state_shapes(config).params, config.optim)
    changed = check_resumable(checkpoints, config)
    if checkpoints.latest is None:
        require_start(config.start)
    fresh = config.start.kind == "random"
    given = None if fresh else functools.partial(given_parameters, model_of(config), config.start)
    initial = functools.partial(new_state, config)
    state, line = start_or_resume(checkpoints, initial, mesh, given)
    if int(state.step) > config.steps:
        where = checkpoints.directory.parent
        raise UserError(f"{where} is at step {int(state.step)} already: raise --steps")
    count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    title = f"{config.name}: {count / 1e6:.2f} M parameters on {describe(mesh)}; {line}"
    return state, [title, *([changed] if changed else [])]


def check_resumable(checkpoints: Checkpoints, config: TrainConfig) -> str | None:
    """A run can be resumed with another schedule or other data, not with other parameters.

    Args:
      checkpoints: the run's, possibly none.
      config: what it is to go on with.

    Returns:
      One line on what changes, None if nothing does (or if there is nothing to resume).

    Raises:
      UserError: the model is another one, or other parameters of it are trained.
    """
    if checkpoints.latest is None:
        return None
    changed = differences(checkpoints.config(), config)
    # What Muon updates has other moments, and what is frozen has none.
    kept = ("model.", "optim.muon", "optim.frozen")
    if of_model := [line for line in changed if line.startswith(kept)]:
        raise UserError(
            f"{checkpoints.directory} holds checkpoints of another model than {config.name} "
            f"({', '.join(of_model)}): choose another --workdir, with --start.path to start from it"
        )
    if not changed:
        return None
    return f"resuming with another configuration than it was saved with: {', '.join(changed)}"
