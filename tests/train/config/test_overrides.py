"""Leaves of a configuration by dotted name: reading, checking, naming the nearest."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Literal

import pytest

from zipmap_jax.config_io import to_json
from zipmap_jax.data.config import BatchShape, DataConfig, JitterConfig, SourceConfig
from zipmap_jax.models.presets import preset
from zipmap_jax.train.config.overrides import apply, field_docs, leaves
from zipmap_jax.train.config.schema import TrainConfig
from zipmap_jax.train.config.texts import parse_text, show, type_name

CONFIG = TrainConfig(
    name="test",
    model=preset("tiny"),
    data=DataConfig(
        buckets=(BatchShape(2, 42, 42), BatchShape(4, 42, 42)),
        mixture=(SourceConfig("scannet", 90.0), SourceConfig("co3d", 180.0)),
        jitter=None,
    ),
)


def changed(**changes: str) -> TrainConfig:
    return apply(CONFIG, {name.replace("__", "."): text for name, text in changes.items()})


def test_scalars() -> None:
    new = changed(optim__lr="3e-4", steps="70_000", remat="true", policy="bf16", log__every="5")
    assert new.optim.lr == 3e-4
    assert (new.steps, new.remat, new.policy, new.log.every) == (70_000, True, "bf16", 5)
    assert dataclasses.replace(new, optim=CONFIG.optim, steps=1000, remat=False) == (
        dataclasses.replace(CONFIG, policy="bf16", log=new.log)
    )


def test_elements_by_number_and_by_name() -> None:
    new = apply(
        CONFIG,
        {
            "data.buckets.1.batch": "3",
            "data.mixture.scannet.root": "/disk/scannet",
            "data.mixture.1.weight": "1",
        },
    )
    assert [b.batch for b in new.data.buckets] == [1, 3]
    assert new.data.mixture[0] == SourceConfig("scannet", 90.0, "/disk/scannet")
    assert new.data.mixture[1] == SourceConfig("co3d", 1.0)


def test_tuples() -> None:
    new = changed(
        log__writers="console, tensorboard",
        optim__muon="",
        model__taps="0,1,2,3",
        optim__lr_groups='[["global_blocks/*", 1e-4]]',
    )
    assert new.log.writers == ("console", "tensorboard")
    assert new.optim.muon == ()
    assert new.model.taps == (0, 1, 2, 3)
    assert new.optim.lr_groups == (("global_blocks/*", 1e-4),)


def test_what_may_be_none() -> None:
    assert changed(data__crop="none").data.crop is None
    assert changed(data__jitter__hue="0.2").data.jitter == JitterConfig(hue=0.2)
    assert changed(token_scale="0.02").token_scale == 0.02
    assert changed(model__window="2").model.window == 2
    assert changed(model__window="none").model.window is None


def test_whole_branches_as_json() -> None:
    new = changed(
        data__buckets='[{"views": 3, "height": 42, "width": 56, "weight": 2}]',
        data__mixture="[]",
        data__jitter='{"hue": 0}',
    )
    assert new.data.buckets == (BatchShape(3, 42, 56, weight=2.0),)
    assert new.data.mixture == ()
    assert new.data.jitter == JitterConfig(hue=0.0)


def test_values_that_only_fit_together() -> None:
    new = changed(model__depth="5", model__taps="0,1,2,4")
    assert new.model.depth == 5
    with pytest.raises(ValueError, match="must end at the last layer"):
        changed(model__depth="5")


@pytest.mark.parametrize(
    ("path", "text", "sentence"),
    [
        ("optim.lr", "fast", "--optim.lr wants float, got 'fast': write a number such as 3e-4"),
        ("optim.lr", "nan", "--optim.lr wants float"),
        ("steps", "1e5", "--steps wants int, got '1e5': write a whole number"),
        ("remat", "maybe", "--remat wants bool, got 'maybe': write true or false"),
        ("data.engine", "tape", "--data.engine wants device | loader, got 'tape'"),
        ("model.taps", "1,2", "give 4 values, not 2"),
        ("model.taps", "[1, 2", "the JSON breaks at character"),
        ("model.taps", "a,b,c,d", "--model.taps wants int, got 'a'"),
        ("optim.lr_groups", "a,b", "wants list of (str, float), got 'a,b': write it as JSON"),
        ("optim.lr_groups", '[["a"]]', "give 2 values, not 1"),
        ("data.buckets", '[{"views": 2}]', "every BatchShape needs height, width"),
        ("data.buckets", '[{"view": 2}]', "BatchShape has no 'view': did you mean 'views'?"),
        ("data.buckets", "{}", "write a JSON list"),
        ("data.jitter", "off", "--data.jitter wants JitterConfig | none"),
        ("token_scale", "big", "--token_scale wants float | none"),
        ("log.writers", "[1]", "--log.writers wants str, got '1': put it in double quotes"),
    ],
)
def test_wrong_values_are_one_sentence(path: str, text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"^--") as caught:
        apply(CONFIG, {path: text})
    assert sentence in str(caught.value)


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
        ("work-dir", "workdir"),
    ],
)
def test_a_typo_names_the_nearest_flag(typo: str, meant: str) -> None:
    with pytest.raises(ValueError, match="there is no flag") as caught:
        apply(CONFIG, {typo: "1"}, ("workdir",))
    assert str(caught.value) == f"there is no flag --{typo}: did you mean --{meant}?"


def test_leaves_cover_the_configuration() -> None:
    found = {leaf.path: leaf for leaf in leaves(CONFIG)}
    assert found["optim.lr"].type_name == "float"
    assert found["optim.lr"].value == 1e-5
    assert found["optim.lr"].doc.startswith("peak learning rate of every parameter")
    assert found["model.embedder.width"].value == 128
    assert found["data.buckets.1.views"].value == 4
    assert found["data.jitter"].value is None
    # Each leaf is one value of the JSON form, and the other way round.
    assert len(found) == count_leaves(to_json(CONFIG))


def count_leaves(value: Any) -> int:
    if isinstance(value, dict):
        return sum(count_leaves(item) for item in value.values())
    if isinstance(value, tuple | list) and value and isinstance(value[0], dict):
        return sum(count_leaves(item) for item in value)
    return 1


def test_every_leaf_reads_what_it_shows() -> None:
    for leaf in leaves(CONFIG):
        text = show(leaf.value)
        assert parse_text(leaf.hint, text, leaf.path) == leaf.value, leaf.path
        assert leaf.type_name == type_name(leaf.hint)


def test_no_changes_change_nothing() -> None:
    assert apply(CONFIG, {}) == CONFIG


def test_docs_of_fields() -> None:
    docs = field_docs(OptimLike)
    assert docs == {"a": "first, in two lines.", "b": "both.", "c": "both."}


@dataclasses.dataclass(frozen=True)
class OptimLike:
    """Anything.

    Attributes:
      a: first, in
        two lines.
      b, c: both.
    """

    a: int = 1
    b: Literal["x", "y"] = "x"
    c: int = 2


def test_json_and_text_say_the_same() -> None:
    text = json.dumps(to_json(CONFIG)["data"]["buckets"])
    assert apply(CONFIG, {"data.buckets": text}) == CONFIG
