"""Whether a run may go on with another configuration, and what is different about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.errors import UserError
from zipmap_jax.train.config.digest import (
    differences,
)

if TYPE_CHECKING:
    from zipmap_jax.train.checkpoint import Checkpoints
    from zipmap_jax.train.config.schema import TrainConfig


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
