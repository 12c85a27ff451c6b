from __future__ import annotations

import itertools

import numpy as np
import pytest

from zipmap_jax.errors import UserError
from zipmap_jax.inference.buckets import Bucket, bucket_of, fill, padded_count, steps
from zipmap_jax.inference.reconstruct import predict, predict_scenes


def test_steps_are_few_and_close_above_64_views():
    first = list(itertools.takewhile(lambda step: step <= 1024, steps()))
    assert first[:12] == [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 80, 96]
    assert first == sorted(set(first))
    assert len(first) == 26
    for a, b in itertools.pairwise(first):
        assert b <= 2 * a
        assert a < 64 or b <= 1.25 * a


@pytest.mark.parametrize("chunk", [None, 1, 2, 3, 5, 8, 16, 40])
def test_padded_counts_are_whole_chunks_and_monotonic(chunk):
    counts = [padded_count(views, chunk) for views in range(1, 200)]
    assert all(count >= views for views, count in enumerate(counts, start=1))
    assert counts == sorted(counts)
    assert len(set(counts)) <= 18
    for views, count in enumerate(counts, start=1):
        bucket = bucket_of(views, (14, 28), chunk=chunk)
        assert bucket.views == count
        assert (bucket.chunk or bucket.views) <= (chunk or 1000)
        assert bucket.chunk is None or count % bucket.chunk == 0


@pytest.mark.parametrize(
    ("views", "chunk", "bucket"),
    [
        (5, None, Bucket(8, 14, 28)),
        (5, 16, Bucket(8, 14, 28)),
        (5, 6, Bucket(6, 14, 28)),
        (5, 4, Bucket(8, 14, 28, chunk=4)),
        (17, 16, Bucket(32, 14, 28, chunk=16)),
        (130, 16, Bucket(160, 14, 28, chunk=16)),
    ],
)
def test_bucket_has_at_most_the_given_chunk(views, chunk, bucket):
    assert bucket_of(views, (14, 28), chunk=chunk) == bucket


@pytest.mark.parametrize(
    ("views", "chunk", "filled"), [(130, 16, 144), (16, 16, 16), (5, 16, 8), (5, None, 8)]
)
def test_stream_is_padded_to_whole_chunks_only(views, chunk, filled):
    assert padded_count(views, chunk, streams=True) == filled
    assert bucket_of(views, (14, 28), chunk=chunk, streams=True).views == filled


def test_text_of_a_bucket():
    assert Bucket(1, 392, 518).text == "1 view of 518x392"
    assert Bucket(32, 392, 518, 4, 16).text == "4 scenes of 32 views of 518x392, 16 at a time"


def test_padding_is_black_and_masked():
    rng = np.random.default_rng(0)
    scenes = [rng.integers(1, 256, (v, 2, 3, 3), np.uint8) for v in (2, 3)]
    images, valid = fill(scenes, Bucket(4, 2, 3, scenes=3))
    assert images.shape == (3, 4, 2, 3, 3)
    np.testing.assert_array_equal(valid.sum(1), [2, 3, 2])
    np.testing.assert_array_equal(images[0, :2], scenes[0])
    np.testing.assert_array_equal(images[1, :3], scenes[1])
    np.testing.assert_array_equal(images[2], images[0])
    assert not images[~valid].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
def test_images_that_are_not_uint8_are_refused(dtype, echo):
    images, bucket = np.zeros((2, 8, 8, 3), dtype), Bucket(2, 8, 8)
    for call in (
        lambda: fill([images], bucket),
        lambda: predict(echo(), images),
        lambda: predict_scenes(echo(), [images], bucket, "none"),
    ):
        with pytest.raises(UserError, match=f"network images must be uint8, got {images.dtype}"):
            call()
