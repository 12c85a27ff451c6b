from __future__ import annotations

import pytest

from zipmap_jax.bench.runtime import even_chunk
from zipmap_jax.bench.task import Task
from zipmap_jax.nn.config import BF16, FP32

SIZE = (392, 518)
DEPTH, POINTS = 0.2257, 0.2257
"""TFLOP of a dense head per view, as the reference counts them."""


@pytest.mark.parametrize(
    ("kind", "views", "heads", "tflop"),
    # Source: worked totals of the model's specification (both dense heads, one update).
    [
        ("offline", 25, ("camera", "depth", "points"), 92.6),
        ("offline", 25, ("camera", "depth"), 92.6 - 25 * POINTS),
        ("offline", 25, ("camera",), 92.6 - 25 * (POINTS + DEPTH)),
        ("offline", 1, ("camera", "depth", "points"), 7.41),
        ("streaming", 1, ("camera", "depth", "points"), 7.41),
    ],
)
def test_arithmetic_of_the_large_model(kind, views, heads, tflop):
    # Upsampling after the 1x1 convolutions of the heads saves 0.0087 TFLOP per head and view.
    saved = 0.0087 * views * sum(head != "camera" for head in heads)
    task = Task("large", BF16, SIZE, views, kind, heads)
    assert task.flops() / 1e12 == pytest.approx(tflop - saved, rel=2e-3)


def test_chunks_do_not_change_the_arithmetic():
    whole = Task("small", FP32, (56, 56), 5)
    assert Task("small", FP32, (56, 56), 5, chunk=2).flops() == whole.flops()


def test_attention_grows_faster():
    def growth(mixer):
        few, many = (Task("small", FP32, SIZE, v, mixer=mixer).flops() for v in (8, 16))
        return many / few

    assert growth("fast_weights") < 2.0 < growth("attention")


def test_even_chunks():
    assert [even_chunk(v) for v in (1, 16, 17, 25, 50, 750)] == [None, None, 9, 13, 13, 16]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dict(heads=("camera", "normals")), "unknown heads normals: choose from camera"),
        (dict(heads=()), "choose from camera"),
        (dict(size=(55, 56)), "multiples of 14"),
        (dict(views=0), "at least 1 view"),
        (dict(preset="huge"), "unknown preset 'huge'"),
    ],
)
def test_errors(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        Task(**{"preset": "tiny", "policy": FP32, "size": (56, 56), **change})
