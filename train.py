"""Train ZipMap: configuration -> mesh -> data -> model -> step -> state -> loop.

    python train.py --config tiny_procedural --workdir runs/tiny_procedural
    python train.py --config tiny_procedural --workdir runs/tiny_procedural --export DIR
    python train.py --config stage2_dynamic --optim.lr 2e-5 --dry-run --devices 64
    srun python train.py --config stage2_dynamic --data.root DATA --distributed

--config takes a name in configs/ or a file; every leaf of the configuration is a flag (see --help).
A work directory with checkpoints is resumed. SIGTERM and Ctrl-C save a checkpoint and end the run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from zipmap_jax.cli.train_options import RunOptions, parse_command_line
from zipmap_jax.convert import checkpoint as model_folder
from zipmap_jax.data.roots import require_sources
from zipmap_jax.errors import OUT_OF_MEMORY_TRAINING, run_main
from zipmap_jax.eval.benchmarks.procedural import Batch, evaluate, held_out_scenes, predict
from zipmap_jax.eval.rendered import halves, render_half
from zipmap_jax.eval.report import Numbers, table
from zipmap_jax.inference.compile import enable_compilation_cache
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.train import (
    card,
    checkpoint,
    compiled_step,
    initial_weights,
    linear_probe,
    loop,
    preemption,
    resume,
    sharding,
)
from zipmap_jax.train.batches import procedural, recorded
from zipmap_jax.train.config.schema import TrainConfig
from zipmap_jax.train.distributed import is_first, join, leave, on_one_device, wait_for_all
from zipmap_jax.train.log import pictures, writer
from zipmap_jax.train.plan.compiled_memory import dry_run


def held_out(config: TrainConfig, count: int) -> Iterator[Batch]:
    """Return the scenes of the run's evaluation."""
    shape = config.held_out
    return held_out_scenes(count, shape.views, shape.height, shape.width, shape.batch)


def run(config: TrainConfig, options: RunOptions) -> None:
    """Train to the end or to a stop signal."""
    # ------------------------------------------------------------- devices
    workdir = options.workdir
    mesh = sharding.make_mesh(config.mesh)

    # ---------------------------------------------------------------- data
    on_device = config.data.engine == "device"
    engine = procedural.ProceduralSource if on_device else recorded.LoadedSource
    source = engine(config.data, config.steps, config.seed, mesh)

    # --------------------------------------------------------------- model
    model = initial_weights.model_of(config)

    # ---------------------------------------------------------------- step
    step = compiled_step.CompiledStep(config, mesh)

    # ---------------------------------------------------------- evaluation
    @loop.both_weights
    def numbers(params: Any) -> Numbers:
        whole = on_one_device(params, mesh)  # called by every process; the first one evaluates
        return evaluate(model, whole, held_out(config, config.eval_scenes if is_first() else 0))

    def predicted(params: Any, images: Any) -> Any:
        return predict(model, on_one_device(params, mesh), images)

    def rendered(params: Any, batch: Any) -> tuple[Batch, Any]:
        return halves(batch)[1], render_half(model, on_one_device(params, mesh), batch)

    queried = rendered if config.model.ray_channels else None
    picture = pictures.painter(predicted, lambda: next(held_out(config, 1)), queried)

    # ---------------------------------------------------------------- loop
    with (
        checkpoint.Checkpoints(
            workdir / "checkpoints", config.keep, config.keep_every
        ) as checkpoints,
        writer.Writer(workdir, config.steps, config.log) as log,
        preemption.stop_on_signals() as stop,
        contextlib.closing(source),
    ):
        state, lines = resume.begin(config, checkpoints, mesh)
        for line in (*lines, *step.notes):
            log.text(line)
        if config.compile_ahead:
            step.compile_all(state, source, log.text)
        state = loop.train(
            state, step, source, config, checkpoints, log, numbers, stop, picture, step.flops
        )

        stopped = stop.requested

    # -------------------------------------------------------------- export
    if stopped:
        return
    weights = state.params if options.export_weights == "params" else state.ema
    weights = on_one_device(linear_probe.without_probe(weights), mesh)
    if is_first():
        export(config, weights, config.steps, workdir / "model", options, force=True)
        print(workdir / "model")
    wait_for_all("export")


def export_newest(workdir: Path, options: RunOptions) -> None:
    """Export the weights of the newest checkpoint of a run."""
    assert options.export is not None
    model_folder.require_free(options.export, options.force)
    with checkpoint.Checkpoints(workdir / "checkpoints") as checkpoints:
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
    """Write weights and a card with their held-out metrics."""
    dtype = options.export_dtype  # the metrics are those of the rounded weights
    rounded = jax.tree.map(lambda x: x.astype(dtype).astype("float32"), params)
    numbers = evaluate(ZipMap(config.model), rounded, held_out(config, config.eval_scenes))
    about = card.run_card(config, steps, options.export_weights, dtype, numbers)
    model_folder.save(folder, rounded, about, force=force)
    print(table(numbers))


def carry_out(argv: list[str] | None) -> int:
    """Plan, export or train, depending on the command line."""
    enable_compilation_cache()
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
    return 0


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    return run_main("train.py", lambda: carry_out(argv), OUT_OF_MEMORY_TRAINING, leave)


if __name__ == "__main__":
    sys.exit(main())
