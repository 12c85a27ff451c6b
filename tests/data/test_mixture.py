"""The mixture: frequencies, independence, retries, errors that name the source."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from zipmap_jax.data.datasets.readers import READERS, open_source
from zipmap_jax.data.frame import BrokenFrameError, PosedFrame, SceneViews
from zipmap_jax.data.mixture import Mixture, generator
from zipmap_jax.data.recorded import RecordedScenes
from zipmap_jax.data.sampling import FrameSampler, PoolSampler, VideoSampler


@dataclasses.dataclass
class Dots:
    """Scenes of one random number; a share of the draws is broken."""

    name: str
    broken: float = 0.0

    def scene(self, rng: np.random.Generator, views: int, size: tuple[int, int]) -> SceneViews:
        if rng.random() < self.broken:
            raise BrokenFrameError("sequence 3, frame 1: truncated")
        return SceneViews((), int(rng.integers(2**40)))


def draw_all(mixture: Mixture, steps: int) -> list[tuple[int, int, int]]:
    drawn = [
        mixture.draw(step, microbatch, 0, 2, (2, 2))
        for step in range(steps)
        for microbatch in range(2)
    ]
    return [(d.source, d.views.sequence, d.failures) for d in drawn]


def test_frequencies_of_sources_follow_their_weights() -> None:
    mixture = Mixture([Dots("a"), Dots("b"), Dots("c")], [160, 40, 0], seed=1)
    counts = Counter(source for source, _, _ in draw_all(mixture, 1000))
    # 2000 draws, p = 0.8: 5 standard deviations are 90.
    assert abs(counts[0] - 1600) < 90
    assert counts[2] == 0


def test_every_place_has_its_own_random_numbers() -> None:
    mixture = Mixture([Dots("a")], [1.0], seed=1)
    places = [(s, t, n) for s in range(6) for t in range(6) for n in range(6)]
    drawn = {mixture.draw(*place, 2, (2, 2)).views.sequence for place in places}
    assert len(drawn) == len(places)
    other = Mixture([Dots("a")], [1.0], seed=2)
    assert other.draw(0, 0, 0, 2, (2, 2)).views.sequence not in drawn
    again = Mixture([Dots("a")], [1.0], seed=1)
    assert draw_all(again, 3) == draw_all(mixture, 3)


def test_place_zero_is_not_the_plain_seed() -> None:
    # Entropy is padded with zeros: (1, 5) and (1, 5, 0, 0) are one and the same generator, and the
    # shape of a batch would be correlated with its first scene.
    assert np.random.default_rng((1, 5)).random() == np.random.default_rng((1, 5, 0, 0)).random()
    first = {generator(1, 5, 0, 0, n).random() for n in range(2)}
    assert np.random.default_rng((1, 5)).random() not in first


def test_broken_draws_are_counted_and_keep_the_mixture() -> None:
    mixture = Mixture([Dots("a", broken=0.5), Dots("b")], [1, 1], seed=1, retries=30)
    drawn = draw_all(mixture, 1000)
    share = np.mean([source == 0 for source, _, _ in drawn])
    assert abs(share - 0.5) < 0.06
    # Failures before a success are geometric, of mean 1.
    failures = np.array([failed for source, _, failed in drawn if source == 0])
    assert abs(failures.mean() - 1) < 0.25
    assert not any(failed for source, _, failed in drawn if source == 1)


def test_too_many_broken_draws_name_the_source() -> None:
    mixture = Mixture([Dots("good"), Dots("bad", broken=1.0)], [1, 1], seed=1, retries=3)
    sentence = r"source 'bad': 4 draws in a row .* sequence 3, frame 1: truncated; repair"
    with pytest.raises(ValueError, match=sentence):
        draw_all(mixture, 10)


@pytest.mark.parametrize(
    ("names", "weights", "sentence"),
    [
        ("ab", [1], "needs as many weights"),
        ("ab", [1, -1], "needs as many weights"),
        ("aa", [1, 1], "names every source once"),
        ("ab", [0, 0], "positive weight"),
        ("", [], "positive weight"),
    ],
)
def test_impossible_mixtures_are_refused(names: str, weights: list[float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Mixture([Dots(name) for name in names], weights, seed=0)


@dataclasses.dataclass
class Numbers:
    """A reader of sequences whose frames are blank."""

    lengths: np.ndarray
    sampler: FrameSampler
    name: str = "numbers"
    error: Exception | None = None

    def load(self, sequence: int, position: int) -> PosedFrame:
        if self.error is not None:
            raise self.error
        image = np.zeros((16, 16, 3), np.uint8)
        k = np.array([[10.0, 0, 8], [0, 10, 8], [0, 0, 1]])
        return PosedFrame(image, np.full((16, 16), -1.0), k, np.eye(4), position)


def test_sequences_are_drawn_by_the_sampler_s_weights() -> None:
    reader = Numbers(np.array([2, 11, 31]), VideoSampler(start="frame"))
    scenes = RecordedScenes(reader, min_views=2)
    rng = np.random.default_rng(0)
    drawn = Counter(scenes.scene(rng, 1, (8, 8)).sequence for _ in range(1000))
    # 1 : 10 : 30 admissible starts.
    assert abs(drawn[2] - 732) < 75
    assert 0 < drawn[0] < 60
    short = RecordedScenes(reader, min_views=12)
    assert {short.scene(rng, 1, (8, 8)).sequence for _ in range(50)} == {2}


def test_negative_depth_is_invalid_depth() -> None:
    scenes = RecordedScenes(Numbers(np.array([3]), PoolSampler()))
    views = scenes.scene(np.random.default_rng(0), 2, (8, 8))
    assert all((frame.depth == 0).all() for frame in views.frames)


@pytest.mark.parametrize("error", [OSError("gone"), SyntaxError("broken PNG"), KeyError("pose")])
def test_whatever_a_decoder_raises_is_a_broken_frame(error: Exception) -> None:
    scenes = RecordedScenes(Numbers(np.array([3]), PoolSampler(), error=error))
    with pytest.raises(BrokenFrameError, match="sequence 0, frame"):
        scenes.scene(np.random.default_rng(0), 2, (8, 8))


def test_running_out_of_memory_is_no_broken_frame() -> None:
    scenes = RecordedScenes(Numbers(np.array([3]), PoolSampler(), error=MemoryError()))
    with pytest.raises(MemoryError):
        scenes.scene(np.random.default_rng(0), 2, (8, 8))


def test_settings_a_sampler_does_not_have_are_refused() -> None:
    reader = Numbers(np.array([3]), PoolSampler())
    with pytest.raises(ValueError, match="'numbers' does not draw frames by interval: remove"):
        RecordedScenes(reader, max_interval=3)


@pytest.mark.parametrize(
    ("name", "min_views", "drawn"),
    [("co3d", 2, {1, 2}), ("co3d", 30, {1, 2}), ("numbers", 2, {0, 1, 2})],
)
def test_a_row_of_the_table_may_fix_the_shortest_sequence(
    name: str, min_views: int, drawn: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """CO3D keeps 24 frames for any configuration of the run."""
    reader = Numbers(np.array([23, 24, 40]), PoolSampler(), name)
    monkeypatch.setitem(READERS, name, lambda root: reader)
    source = open_source(name, Path("nowhere"), min_views=min_views)
    rng = np.random.default_rng(0)
    assert {source.scene(rng, 1, (8, 8)).sequence for _ in range(60)} == drawn
