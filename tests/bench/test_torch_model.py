"""Timing of PyTorch models, with a stand-in for torch, which is no dependency."""

from __future__ import annotations

import contextlib
import sys
import types

import pytest

from zipmap_jax.bench.torch_model import load_factory, measure_torch


class Model:
    """Runs out of memory at more than 4 views."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def eval(self):
        return self

    def to(self, device: str):
        assert device == "cpu"
        return self

    def __call__(self, images) -> None:
        self.shapes.append(images.shape)
        if images.shape[1] > 4:
            raise RuntimeError("CUDA out of memory. Tried to allocate 9 GiB\nmore")


@pytest.fixture
def torch(monkeypatch):
    fake = types.ModuleType("torch")
    entered = []

    @contextlib.contextmanager
    def autocast(device, dtype):
        entered.append((device, dtype))
        yield

    def rand(*shape, device):
        return types.SimpleNamespace(shape=shape, device=types.SimpleNamespace(type=device))

    parts = {
        "cuda": types.SimpleNamespace(is_available=lambda: False),
        "autocast": autocast,
        "inference_mode": contextlib.nullcontext,
        "bfloat16": "bfloat16",
        "rand": rand,
        "entered": entered,
    }
    for name, part in parts.items():
        setattr(fake, name, part)
    monkeypatch.setitem(sys.modules, "torch", fake)
    return fake


@pytest.fixture
def model(monkeypatch) -> Model:
    module, model = types.ModuleType("their_model"), Model()
    module.build = lambda: model  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "their_model", module)
    return model


def test_a_model_is_timed_until_a_call_does_not_fit(torch, model):
    rows = list(measure_torch("their_model:build", [8, 2, 4, 16], (28, 42), "bf16", repeats=3))
    assert [row.views for row in rows] == [2, 4, 8, 16]
    assert [row.repeats for row in rows] == [3, 3, None, None]
    assert rows[2].missing == "does not fit: CUDA out of memory. Tried to allocate 9 GiB"
    assert rows[3].missing == rows[2].missing
    assert model.shapes == [(1, 2, 3, 28, 42)] * 5 + [(1, 4, 3, 28, 42)] * 5 + [(1, 8, 3, 28, 42)]
    assert torch.entered == [("cpu", "bfloat16")]


def test_fp32_runs_without_autocast(torch, model):
    list(measure_torch("their_model:build", [2], (28, 42), "fp32", repeats=1))
    assert not torch.entered


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("their_model", "takes MODULE:FACTORY"),
        ("their_model:missing", "name a module on the Python path"),
        ("no_such_module:build", "No module named 'no_such_module'"),
    ],
)
def test_errors(model, name, sentence):
    with pytest.raises(ValueError, match=sentence):
        load_factory(name)


def test_without_torch(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ValueError, match="pip install torch"):
        list(measure_torch("their_model:build", [2], (28, 42), "fp32"))
