"""Child processes that save continuously until they are killed; started by a test.

    python killed_while_saving.py DIRECTORY KILLS

Children are forked before JAX starts a backend, so JAX is imported only once.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from zipmap_jax.data.config import BatchShape, DataConfig
from zipmap_jax.models.presets import preset
from zipmap_jax.train.checkpoint import Checkpoints
from zipmap_jax.train.config.schema import OptimConfig, TrainConfig
from zipmap_jax.train.state import TrainState

CONFIG = TrainConfig(
    "kill", preset("tiny"), DataConfig((BatchShape(2, 42, 42),)), optim=OptimConfig()
)


def state_of(step: int) -> TrainState:
    """A state filled with the number of the step."""
    tree = {f"leaf{i}": jnp.full((64, 64), step, jnp.float32) for i in range(6)}
    number = jnp.int32(step)
    return TrainState(number, tree, tree, tree, number, number)


def child(directory: str, pipe: int) -> None:
    """Check the checkpoint of the killed process, then save step after step."""
    with Checkpoints(directory, keep=1) as checkpoints:
        step = checkpoints.latest or 0
        if step:
            restored = checkpoints.restore(jax.eval_shape(lambda: state_of(0)))
            for leaf in jax.tree.leaves(restored):
                assert (np.asarray(leaf) == step).all(), "a step that is not complete"
        os.write(pipe, f"restored {step}\n".encode())
        while True:
            step += 1
            state = state_of(step)
            jax.block_until_ready(state)
            os.write(pipe, f"begin {step}\n".encode())
            checkpoints.save(state, CONFIG)
            checkpoints.wait()
            os.write(pipe, f"done {step}\n".encode())


def main(directory: str, kills: int) -> None:
    done = begun = 0
    for number in range(kills):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                child(directory, writer)
            finally:
                os._exit(1)
        os.close(writer)
        saves = 0
        with os.fdopen(reader) as lines:
            for line in lines:
                word, step = line.split()
                if word == "restored":
                    assert done <= int(step) <= begun, (done, int(step), begun)
                    done = int(step)
                elif word == "done":
                    done, saves = int(step), saves + 1
                else:
                    begun = int(step)
                    if saves == 2:
                        time.sleep(0.006 * number)  # a save takes about 0.05 s
                        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL, "the child failed by itself"
    print(done, begun)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # JAX does not like forks, once it has started
    main(sys.argv[1], int(sys.argv[2]))
