"""The command line of `train.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from zipmap_jax.cli.overrides import leaves
from zipmap_jax.cli.train_options import OPTIONS
from zipmap_jax.cli.train_options import parse_command_line as parse
from zipmap_jax.train.config.stages import stage

ROOT = Path(__file__).parents[2]


def test_leaves_and_options() -> None:
    words = (
        "--config debug --workdir runs/x --optim.lr 3e-4 --seed=7 --save-every 5 --dry-run "
        "--data.microbatches 2 --devices 4 --remat false --compile_ahead "
        "--data.mixture.mvs_synth.weight 0"
    )
    options, config = parse(words.split())
    assert options.workdir == Path("runs/x")
    assert (options.dry_run, options.devices, options.export) == (True, 4, None)
    assert (config.optim.lr, config.seed, config.data.microbatches) == (3e-4, 7, 2)
    assert (config.save_every, config.log.every) == (5, 20)
    assert (config.remat, config.compile_ahead) == (False, True)
    assert [source.weight for source in config.data.mixture] == [0.0, 25.0]


def test_defaults() -> None:
    options, config = parse(["--config", "stage3_affine"])
    assert options.workdir == Path("runs/stage3_affine")
    assert config == stage("stage3_affine")


def test_batch_scale() -> None:
    _, config = parse("--config debug --batch-scale 3 --data.buckets.0.batch 5".split())
    before = stage("debug").data.buckets
    assert [b.batch for b in config.data.buckets] == [15, *(3 * b.batch for b in before[1:])]


def test_configurations_in_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from zipmap_jax.train.config.stages import stage\n\n"
        "def get_config():\n    return stage('debug')\n"
    )
    assert parse(["--config", str(path)])[1] == stage("debug")
    path.write_text("get_config = list\n")
    with pytest.raises(ValueError, match=r"no get_config\(\) that returns a TrainConfig"):
        parse(["--config", str(path)])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("", "no configuration: give --config"),
        ("--config nothing.py", "no configuration nothing.py"),
        ("--config stage1", "did you mean stage1_static?"),
        ("--config debug --lr 1", "there is no flag --lr: did you mean --optim.lr?"),
        ("--config debug --work-dir x", "did you mean --workdir?"),
        ("--config debug --optim.lr", "--optim.lr takes one value, got none"),
        ("stray --config debug", "'stray' belongs to no flag"),
        ("--config debug stray", "no configuration debug stray"),
        ("--config debug --export-dtype int8", "invalid choice 'int8'"),
        ("--config debug --batch-scale 0", "batch_scale=0: it must be at least 1"),
        ("--config debug --devices 0", "devices=0: it must be at least 1"),
        ("--config debug --model.depth 7", "must end at the last layer"),
    ],
)
def test_errors(words: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        parse(words.split())
    assert sentence in str(caught.value)


def test_help_shows_the_flags_of_the_named_configuration(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--config", "streaming_24", "--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert all(f"--{flag.replace('_', '-')} " in text for flag in OPTIONS)
    assert "(default: runs/streaming_24)" in text
    assert "length of the run; the schedule spans it." in text
    assert "(default: 30000)" in text
    for name, _ in leaves(stage("streaming_24")):
        if not name.startswith(("data.buckets.", "data.mixture.")):
            assert f"--{name.replace('_', '-')} " in text, name
    assert "--data.buckets.0.views" in text
    assert "--data.mixture.scannet.root DIR" in text


def test_help_needs_no_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["-h"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "(default: runs/debug)" in text


def test_train_py_names_missing_data_before_it_starts() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", *"--config debug --data.root nowhere".split()],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "train.py: error: 2 of the 2 data sets of the mixture are missing: "
        "mvs_synth (nowhere/mvs_synth), virtual_kitti (nowhere/virtual_kitti); "
        "give --data.root for all, or --data.mixture.NAME.root for one, or "
        "leave one out with --data.mixture.NAME.weight 0\n"
    )
    assert not done.stdout
