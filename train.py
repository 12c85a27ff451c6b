"""Train ZipMap: configuration -> data -> model -> state -> step -> loop.

    python train.py --config tiny_procedural --workdir runs/tiny_procedural
    python train.py --config tiny_procedural --workdir runs/tiny_procedural --export DIR
    python train.py --config stage2_dynamic --optim.lr 2e-5 --dry-run --devices 64
    srun python train.py --config stage2_dynamic --data.root DATA --distributed

--config takes a name in configs/ or a file, every leaf of the configuration is a flag (see --help).
A work directory that holds checkpoints is resumed; SIGTERM and Ctrl-C save before they end the run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from zipmap_jax.cli.train_options import RunOptions, parse_command_line
from zipmap_jax.convert.checkpoint import require_free
from zipmap_jax.convert.checkpoint import save as save_weights
from zipmap_jax.data.roots import require_sources
from zipmap_jax.errors import OUT_OF_MEMORY_TRAINING, UserError, explain, reader_left
from zipmap_jax.eval.benchmarks.procedural import Batch, evaluate, held_out_scenes, predict
from zipmap_jax.eval.rendered import halves, render_half
from zipmap_jax.eval.report import Numbers, table
from zipmap_jax.inference.compile import enable_compilation_cache
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.nn.config import POLICIES
from zipmap_jax.structs import Prediction
from zipmap_jax.train.batches.procedural import ProceduralSource
from zipmap_jax.train.batches.recorded import LoadedSource
from zipmap_jax.train.card import run_card
from zipmap_jax.train.checkpoint import Checkpoints, start_or_resume
from zipmap_jax.train.compiled_step import CompiledStep
from zipmap_jax.train.config.schema import TrainConfig
from zipmap_jax.train.distributed import is_first, join, leave, on_one_device, wait_for_all
from zipmap_jax.train.initial_weights import given_parameters, random_parameters, require_start
from zipmap_jax.train.linear_probe import with_probe, without_probe
from zipmap_jax.train.log.pictures import painter
from zipmap_jax.train.log.writer import Writer
from zipmap_jax.train.loop import both_weights, train
from zipmap_jax.train.optimizer import require_matches
from zipmap_jax.train.plan.compiled_memory import dry_run
from zipmap_jax.train.preemption import stop_on_signals
from zipmap_jax.train.resume import check_resumable
from zipmap_jax.train.sharding import describe, make_mesh
from zipmap_jax.train.state import TrainState, initial_state


def held_out(config: TrainConfig, count: int) -> Iterator[Batch]:
    """Scenes of the run's evaluation."""
    shape = config.held_out
    return held_out_scenes(count, shape.views, shape.height, shape.width, shape.batch)


def run(config: TrainConfig, options: RunOptions) -> None:
    """Train to the end, or until asked to stop."""
    # ------------------------------------------------------------- devices
    workdir = options.workdir
    mesh = make_mesh(config.mesh)

    # ---------------------------------------------------------------- data
    engine = ProceduralSource if config.data.engine == "device" else LoadedSource
    source = engine(config.data, config.steps, config.seed, mesh)

    # --------------------------------------------------------------- model
    model = ZipMap(config.model, POLICIES[config.policy], config.remat)

    def new_state() -> TrainState:
        params = random_parameters(model, jax.random.key(config.seed), config.token_scale)
        return initial_state(with_probe(params, config), config.optim)

    require_matches(jax.eval_shape(new_state).params, config.optim)
    fresh = config.start.kind == "random"
    given = None if fresh else functools.partial(given_parameters, model, config.start)

    # ---------------------------------------------------------------- step
    step = CompiledStep(config, mesh)

    # ---------------------------------------------------------- evaluation
    @both_weights
    def numbers(params: Any) -> Numbers:
        whole = on_one_device(params, mesh)  # all processes take part in it, one goes on
        return evaluate(model, whole, held_out(config, config.eval_scenes if is_first() else 0))

    def answer(params: Any, images: Any) -> Prediction:
        return predict(model, on_one_device(params, mesh), images)

    def rendered(params: Any, batch: Any) -> tuple[Batch, Prediction]:
        return halves(batch)[1], render_half(model, on_one_device(params, mesh), batch)

    queried = rendered if config.model.ray_channels else None
    picture = painter(answer, lambda: next(held_out(config, 1)), queried)

    # ---------------------------------------------------------------- loop
    with (
        Checkpoints(workdir / "checkpoints", config.keep, config.keep_every) as checkpoints,
        Writer(workdir, config.steps, config.log) as writer,
        stop_on_signals() as stop,
        contextlib.closing(source),
    ):
        changed = check_resumable(checkpoints, config)
        if checkpoints.latest is None:
            require_start(config.start)
        state, line = start_or_resume(checkpoints, new_state, mesh, given)
        if int(state.step) > config.steps:
            raise UserError(f"{workdir} is at step {int(state.step)} already: raise --steps")
        count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
        writer.say(f"{config.name}: {count / 1e6:.2f} M parameters on {describe(mesh)}; {line}")
        for note in (*step.notes, changed):
            if note:
                writer.say(note)
        if config.compile_ahead:
            step.compile_all(state, source, writer.say)
        state = train(
            state, step, source, config, checkpoints, writer, numbers, stop, picture, step.flops
        )

        stopped = stop.asked

    # -------------------------------------------------------------- export
    if stopped:
        return
    weights = state.params if options.export_weights == "params" else state.ema
    weights = on_one_device(without_probe(weights), mesh)
    if is_first():
        export(config, weights, config.steps, workdir / "model", options, force=True)
        print(workdir / "model")
    wait_for_all("export")


def export_newest(workdir: Path, options: RunOptions) -> None:
    """Write the weights of the newest checkpoint of a run."""
    assert options.export is not None
    require_free(options.export, options.force)
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        config, steps = checkpoints.config(), checkpoints.latest
        like = jax.eval_shape(ZipMap(config.model).init, jax.random.key(0))
        params = checkpoints.restore_weights(like, options.export_weights)
    assert steps is not None
    config = dataclasses.replace(config, eval_scenes=options.export_scenes)
    export(config, params, steps, options.export, options, force=options.force)
    print(options.export)


def export(
    config: TrainConfig, params: Any, steps: int, folder: Path, options: RunOptions, *, force: bool
) -> None:
    """Write weights and a card that says what they are worth."""
    # The numbers belong to the weights as they are stored.
    dtype = options.export_dtype
    rounded = jax.tree.map(lambda x: x.astype(dtype).astype("float32"), params)
    numbers = evaluate(ZipMap(config.model), rounded, held_out(config, config.eval_scenes))
    card = run_card(config, steps, options.export_weights, dtype, numbers)
    save_weights(folder, rounded, card, force=force)
    print(table(numbers))


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    enable_compilation_cache()
    try:
        options, config = parse_command_line(argv)
        join(options.coordinator, options.processes, options.process, detect=options.distributed)
        if options.dry_run:
            for section in dry_run(config, options.devices, options.compile_for):
                print(section, end="\n\n", flush=True)
        elif options.export is not None:
            export_newest(options.workdir, options)
        else:
            require_sources(config.data)
            run(config, options)
        sys.stdout.flush()
    except BrokenPipeError:
        return reader_left()
    except KeyboardInterrupt:
        print("train.py: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        sentence = explain(error, OUT_OF_MEMORY_TRAINING)
        if sentence is None:
            if jax.process_count() == 1:
                raise
            traceback.print_exc()
            return leave(1)
        print(f"train.py: {sentence}", file=sys.stderr, flush=True)
        return leave(2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
