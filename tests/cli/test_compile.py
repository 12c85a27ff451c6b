"""`zipmap compile` with a stand-in model: programs, cache and output."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from tests.echo import echo_model
from zipmap_jax.cli.main import main
from zipmap_jax.errors import UserError
from zipmap_jax.inference import warm_cache as warm
from zipmap_jax.inference.buckets import Bucket
from zipmap_jax.models.presets import preset
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.nn.config import BF16

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.delenv("ZIPMAP_NO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()  # JAX reads the setting once
    yield tmp_path / "zipmap-jax"
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(autouse=True)
def echo(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = echo_model()

    def shapes(name: str, policy: object) -> tuple[object, object, int]:
        return loaded.model, jax.eval_shape(lambda: loaded.params), 32

    monkeypatch.setattr(warm, "shapes_of_model", shapes)


def test_programs_are_cached_and_timed(
    cache: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = jax.config.update
    monkeypatch.setattr(  # the stand-in compiles too quickly to be cached
        jax.config,
        "update",
        lambda name, value: update(name, 0 if "min_compile" in name else value),
    )
    argv = ["compile", "--views", "3,4,6", "--ratio", "4:3,1:1"]
    assert main(argv) == 0
    *lines, place = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "4 views of 32x24",
        "8 views of 32x24",
        "4 views of 32x32",
        "8 views of 32x32",
    ]
    assert all("compiled in" in line and "a second start" in line for line in lines)
    assert "too quick" not in "".join(lines)
    assert place == str(cache)
    assert any(cache.iterdir())
    assert main([*argv, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["cache"] == str(cache)
    assert all(row["known"] and row["kept"] for row in facts["programs"])
    assert facts["programs"][0]["bucket"] == dict(
        views=4, height=24, width=32, scenes=1, chunk=None, devices=1
    )


def test_the_programs_are_those_of_a_run() -> None:
    loaded = echo_model()
    options = dict(size=32, chunk=2, scenes=3)
    buckets = warm.buckets_for(loaded.model, loaded.params, [5], [(3, 4)], **options)  # type: ignore[arg-type]
    assert buckets == [Bucket(8, 32, 32, scenes=3, chunk=2)]


def test_streams_of_any_length_share_one_program() -> None:
    model = ZipMap(preset("tiny", "streaming"))
    params = jax.eval_shape(model.init, jax.random.key(0))
    buckets = warm.buckets_for(model, params, [5, 64, 512], [(4, 3)], size=56, chunk=8)
    assert buckets == [Bucket(8, 42, 56)]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("--views 0", "views must be at least 1"),
        ("--views 8;16", "--views takes whole numbers like 8,16,32, got '8;16'"),
        ("--ratio 4x3", "--ratio takes aspect ratios like 4:3"),
        ("--ratio 4:0", "--ratio takes aspect ratios like 4:3"),
        ("--size 33", "multiple of the patch size 4"),
        ("--chunk 0", "--chunk must be at least 1"),
        ("--batch-size 0", "--batch-size must be at least 1"),
    ],
)
def test_errors(argv: str, words: str, capsys: Capture) -> None:
    assert main(["compile", *argv.split()]) == 2
    assert words in capsys.readouterr().err


def test_a_disabled_cache_is_an_error(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIPMAP_NO_CACHE", "1")
    assert main(["compile"]) == 2
    assert "unset ZIPMAP_NO_CACHE" in capsys.readouterr().err


def test_every_option_reaches_the_buckets(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: dict[str, object] = {}

    def buckets_for(model: object, params: object, *arguments: object, **options: object) -> None:
        seen.update(options, arguments=arguments)
        raise UserError("far enough")

    monkeypatch.setattr("zipmap_jax.inference.compile.enable_compilation_cache", lambda: tmp_path)
    monkeypatch.setattr(warm, "buckets_for", buckets_for)
    shapes = lambda *names: seen.update(names=names) or (None, None, 518)  # noqa: E731
    monkeypatch.setattr(warm, "shapes_of_model", shapes)
    argv = "compile --model other --views 3,5 --ratio 4:3,1:2 --size 28 --mode pad --batch-size 2"
    assert main([*argv.split(), "--chunk", "4", "--precision", "bf16"]) == 2
    assert "far enough" in capsys.readouterr().err
    assert seen == dict(
        names=("other", BF16),
        arguments=([3, 5], [(4, 3), (1, 2)]),
        size=28,
        mode="pad",
        chunk=4,
        scenes=2,
    )
