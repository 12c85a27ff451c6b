"""Extensions of tyro's flags: names of elements, JSON, `none`, errors in one sentence."""

from __future__ import annotations

import dataclasses
import json

import pytest

from zipmap_jax.cli.overrides import apply, flag_names, flag_values, lines
from zipmap_jax.config_io import to_json
from zipmap_jax.data.config import BatchShape, CropConfig, DataConfig, JitterConfig, SourceConfig
from zipmap_jax.models.presets import preset
from zipmap_jax.train.config.schema import TrainConfig

CONFIG = TrainConfig(
    name="test",
    model=preset("tiny"),
    data=DataConfig(
        buckets=(BatchShape(2, 42, 42), BatchShape(4, 42, 42)),
        mixture=(SourceConfig("scannet", 90.0), SourceConfig("co3d", 180.0)),
        jitter=None,
    ),
)


def changed(*words: str) -> TrainConfig:
    return apply(CONFIG, flag_values(words))


def test_words_by_flag() -> None:
    words = "--a-b.c 1 2 --d=x=y --e --f -1".split()
    assert flag_values(words) == {"a_b.c": ["1", "2"], "d": ["x=y"], "e": [], "f": ["-1"]}
    with pytest.raises(ValueError, match="'stray' belongs to no flag"):
        flag_values(["stray"])


def test_plain_values() -> None:
    new = changed("--optim.lr", "3e-4", "--steps", "70_000", "--remat", "--policy=bf16")
    assert (new.optim.lr, new.steps, new.remat, new.policy) == (3e-4, 70_000, True, "bf16")
    assert dataclasses.replace(
        new, optim=CONFIG.optim, steps=CONFIG.steps, remat=False, policy="fp32"
    ) == (CONFIG)
    assert not changed("--compile-ahead", "no").compile_ahead
    assert changed("--compile_ahead", "true").compile_ahead


def test_elements_by_number_and_by_name() -> None:
    new = changed(
        *("--data.buckets.1.batch", "3", "--data.mixture.scannet.root", "/disk/scannet"),
        *("--data.mixture.1.weight", "1"),
    )
    assert [bucket.batch for bucket in new.data.buckets] == [1, 3]
    assert new.data.mixture[0] == SourceConfig("scannet", 90.0, "/disk/scannet")
    assert new.data.mixture[1] == SourceConfig("co3d", 1.0)


@pytest.mark.parametrize(
    "words",
    [("0", "1", "2", "3"), ("0,1, 2,3",), ("[0, 1, 2, 3]",)],
    ids=["words", "commas", "json"],
)
def test_tuples(words: tuple[str, ...]) -> None:
    assert changed("--model.taps", *words).model.taps == (0, 1, 2, 3)


def test_tuples_of_tuples() -> None:
    rates = (("global_blocks/*", 1e-4), ("heads/*", 2.0))
    words = ["global_blocks/*", "1e-4", "heads/*", "2"]
    assert changed("--optim.lr-groups", *words).optim.lr_groups == rates
    assert changed("--optim.lr-groups", json.dumps(rates)).optim.lr_groups == rates


@pytest.mark.parametrize("words", [(), ("",), ("[]",)])
def test_empty_tuples(words: tuple[str, ...]) -> None:
    assert changed("--log.writers", *words).log.writers == ()


def test_optional_values() -> None:
    assert changed("--data.crop", "none").data.crop is None
    assert changed("--data.crop.scales", "none").data.crop == CropConfig(scales=None)
    assert changed("--data.jitter.hue", "0.2").data.jitter == JitterConfig(hue=0.2)
    assert changed("--token-scale", "0.02").token_scale == 0.02
    assert changed("--model.window", "2").model.window == 2
    assert changed("--model.window", "none").model.window is None


def test_whole_records_as_json() -> None:
    new = changed(
        *(
            "--data.mixture",
            '[{"name": "posed_folder"}]',
            "--data.mixture.posed_folder.weight",
            "3",
        ),
        *(
            "--data.jitter",
            '{"hue": 0}',
            "--data.buckets.0",
            '{"views": 3, "height": 42, "width": 56}',
        ),
    )
    assert new.data.mixture == (SourceConfig("posed_folder", 3.0),)
    assert new.data.jitter == JitterConfig(hue=0.0)
    assert new.data.buckets == (BatchShape(3, 42, 56), BatchShape(4, 42, 42))
    assert changed("--data.buckets", json.dumps(to_json(CONFIG)["data"]["buckets"])) == CONFIG


def test_values_that_only_fit_together() -> None:
    new = changed("--model.depth", "5", "--model.taps", "0", "1", "2", "4")
    assert (new.model.depth, new.model.taps) == (5, (0, 1, 2, 4))
    with pytest.raises(ValueError, match="must end at the last layer"):
        changed("--model.depth", "5")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--optim.lr fast", "Error parsing --optim.lr: could not convert string to float: 'fast'"),
        ("--optim.lr nan", "--optim.lr must be finite, got nan"),
        ("--optim.lr", "--optim.lr takes one value, got none"),
        ("--steps 1 2", "--steps takes one value, got 1 2"),
        ("--steps 1e5", "Error parsing --steps:"),
        ("--remat maybe", "invalid choice 'maybe' for argument '--remat'"),
        ("--data.engine tape", "invalid choice 'tape' for argument '--data.engine'"),
        ("--model.taps 1,2", "'--model.taps'. Expected 4 values."),
        ("--model.taps [1,2", "--model.taps takes JSON or none, got '[1,2', which breaks at"),
        ("--data.buckets [{\"views\":2}]", "--data.buckets.0 lacks height, width"),
        ("--data.buckets [{\"view\":2}]", "has no field view, the nearest one is views"),
        ("--data.jitter off", "--data.jitter takes JSON or none, got 'off'"),
        ("--policy fp8", "policy must be fp32 or bf16, got 'fp8'"),
    ],
)  # fmt: skip
def test_wrong_values_are_one_sentence(words: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        changed(*words.split())
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("optim.lrate", "optim.lr"),
        ("lr", "optim.lr"),
        ("stepz", "steps"),
        ("data.bucket.0.batch", "data.buckets.0.batch"),
        ("data.buckets.7.batch", "data.buckets.0.batch"),
        ("data.mixture.scanet.root", "data.mixture.scannet.root"),
        ("optim.lr.x", "optim.lr"),
        ("work_dir", "workdir"),
    ],
)
def test_a_typo_names_the_nearest_flag(typo: str, meant: str) -> None:
    with pytest.raises(ValueError, match="there is no flag") as caught:
        apply(CONFIG, {typo: ["1"]}, ("workdir",))
    assert str(caught.value) == f"there is no flag --{typo}: did you mean --{meant}?"


def test_every_line_is_a_flag_with_its_value() -> None:
    texts = dict(line.split(" = ", 1) for line in lines(CONFIG))
    values = {name: ["" if text == '""' else text] for name, text in texts.items()}
    assert apply(CONFIG, values) == CONFIG
    assert set(values) < set(flag_names(CONFIG))
