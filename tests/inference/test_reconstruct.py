from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from PIL import Image

from zipmap_jax.inference.compile import Program, forget_programs
from zipmap_jax.inference.memory import MemoryEstimate, estimate_memory
from zipmap_jax.inference.options import ComputeOptions
from zipmap_jax.inference.reconstruct import predict, reconstruct
from zipmap_jax.inference.scene_plan import default_size
from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.nn.config import CameraHeadConfig, DenseHeadConfig, EmbedderConfig

RNG = np.random.default_rng(0)


@pytest.fixture
def photos(tmp_path):
    for i, shape in enumerate([(48, 64), (48, 64), (64, 48)]):
        Image.fromarray(RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(
            tmp_path / f"{i}.png"
        )
    return tmp_path


def test_scene_of_a_folder(photos, echo):
    calls, estimates = [], []
    scene = reconstruct(
        echo(name="echo model"),
        photos,
        progress=lambda *call: calls.append(call),
        on_plan=lambda plan: estimates.append(plan.estimate),
    )
    assert scene.names == ("0.png", "1.png", "2.png")
    assert [image.shape for image in scene.images] == [(48, 64, 3), (48, 64, 3), (64, 48, 3)]
    assert [depth.shape for depth in scene.depth] == [(48, 64), (48, 64), (64, 48)]
    assert (scene.model, scene.network_size) == ("echo model", (32, 32))
    np.testing.assert_allclose(scene.w2c[:, 0, 3], [0, 1, 2])
    stages = list(dict.fromkeys(stage for stage, _, _ in calls))
    assert stages == ["reading", "compiling", "running", "assembling"]
    for stage in stages:
        done = [(d, n) for s, d, n in calls if s == stage]
        assert done[-1][0] == done[-1][1]
    (estimate,) = estimates
    assert isinstance(estimate, MemoryEstimate)
    assert estimate.workload.original_sizes == ((48, 64), (48, 64), (64, 48))
    assert estimate.workload.network_size == (32, 32)


def test_a_smaller_output_has_the_same_rays(photos, echo):
    """Images, depth and intrinsics are reduced together; the network sees the original."""
    seen = []
    whole, small = (
        reconstruct(echo(), photos, output_size=n, on_plan=seen.append) for n in (None, 24)
    )
    assert [image.shape for image in small.images] == [(18, 24, 3), (18, 24, 3), (24, 18, 3)]
    assert [depth.shape for depth in small.depth] == [(18, 24), (18, 24), (24, 18)]
    assert seen[1].workload.original_sizes == ((18, 24), (18, 24), (24, 18))
    assert seen[0].bucket == seen[1].bucket
    assert small.original_sizes == whole.original_sizes == ((48, 64), (48, 64), (64, 48))
    np.testing.assert_array_equal(small.w2c, whole.w2c)
    for view, image in enumerate(small.images):
        scale = image.shape[0] / whole.images[view].shape[0]
        np.testing.assert_allclose(small.original_intrinsics(view), whole.intrinsics[view])
        np.testing.assert_allclose(whole.original_intrinsics(view), whole.intrinsics[view])
        np.testing.assert_allclose(
            small.intrinsics[view][0, 0], scale * whole.intrinsics[view][0, 0]
        )
        # The corner of the image, at -0.5, has the same ray.
        corners = [
            np.linalg.solve(scene.intrinsics[view], [-0.5, -0.5, 1]) for scene in (whole, small)
        ]
        np.testing.assert_allclose(*corners, atol=1e-9)
        # Depth of the echo model is the brightness of the picture, so it is reduced alike.
        assert abs(np.nanmean(small.depth[view]) - np.nanmean(whole.depth[view])) < 0.05
    assert reconstruct(echo(), photos, output_size=64).images[0].shape == (48, 64, 3)


def test_depth_is_aligned_with_the_image(echo):
    """The model's depth is 1 + red."""
    image = np.zeros((128, 96, 3), np.uint8)
    image[40:60, 30:50, 0] = 255
    scene = reconstruct(echo(), [image], mode="pad")
    inside, outside = scene.depth[0][45:55, 35:45], scene.depth[0][70:, 60:]
    np.testing.assert_allclose(inside, 2, atol=0.01)  # one 8-bit level
    np.testing.assert_allclose(outside, 1, atol=0.01)
    rows, cols = np.nonzero(scene.depth[0] > 1.5)
    # Edges fall within half a network pixel, two original ones.
    assert abs(rows.mean() - 49.5) < 1
    assert abs(cols.mean() - 39.5) < 1


@pytest.mark.parametrize("chunk", [None, 1, 2, 3, 7])
def test_chunk_pads_and_drops_views(photos, echo, chunk):
    scene = reconstruct(echo(), photos, chunk=chunk)
    assert len(scene) == len(scene.depth) == 3
    reference = reconstruct(echo(), photos)
    np.testing.assert_array_equal(scene.depth[2], reference.depth[2])
    np.testing.assert_array_equal(scene.w2c, reference.w2c)


def test_scene_of_one_image(photos, echo):
    scene = reconstruct(echo(), photos / "0.png")
    assert len(scene) == 1
    np.testing.assert_array_equal(scene.w2c, np.eye(4)[None])


def test_video_frames_carry_times(make_video, echo):
    scene = reconstruct(echo(), make_video(count=12, fps=4), max_views=2)
    assert scene.times == (0.75, 2.75)


def test_size_is_that_of_the_call_the_card_or_the_model(photos, echo):
    assert default_size(echo()) == 32
    assert default_size(echo(size=48)) == 48
    assert reconstruct(echo(size=48), photos / "0.png").network_size == (36, 48)
    assert reconstruct(echo(size=48), photos / "0.png", size=64).network_size == (48, 64)


def test_exif_orientation_is_optional(tmp_path, echo):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png", exif=exif)
    assert reconstruct(echo(), tmp_path).depth[0].shape == (64, 48)
    assert reconstruct(echo(), tmp_path, exif=False).depth[0].shape == (48, 64)


def test_too_small_image_is_left_out_or_raises(photos, echo):
    Image.new("RGB", (1, 1)).save(photos / "9.png")
    with pytest.warns(UserWarning, match=r"left out: 9\.png: .* at least 8x8 pixels, got 1x1"):
        assert len(reconstruct(echo(), photos)) == 3
    with pytest.raises(ValueError, match=r"9\.png: .* got 1x1"):
        reconstruct(echo(), photos, strict=True)
    with pytest.raises(ValueError, match=r"9\.png: .* got 1x1"):
        reconstruct(echo(), photos / "9.png")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(size=33), "multiple of the patch size 4 .* try 32"),
        (dict(chunk=0), "chunk must be at least 1, got 0"),
        (dict(mode="fill"), "mode must be"),
        (dict(max_views=0), "max_views must be at least 1"),
        (dict(fps=0), "fps must be a positive number"),
        (dict(fps="2"), "fps must be a positive number of frames per second, got '2'"),
        (dict(size="28"), "size must be a whole number, got '28'"),
        (dict(size=28.0), "size must be a whole number, got 28.0"),
        (dict(size=1_000_000), "network size must be at most 8192, got 1000000"),
        (dict(chunk="2"), "chunk must be a whole number, got '2'"),
        (dict(max_views=1.5), "max_views must be a whole number, got 1.5"),
        (dict(devices=True), "devices must be a whole number, got True"),
        (dict(output_size=0), "output_size must be at least 1, got 0"),
    ],
)
def test_bad_options_raise_before_reading(tmp_path, echo, options, message):
    (tmp_path / "a.jpg").write_text("unreadable")
    with pytest.raises(ValueError, match=message):
        reconstruct(echo(), tmp_path, **options)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (None, "the input is of type NoneType: give a folder"),
        (5, "the input is of type int"),
        ({"images": 1}, "the input is of type dict"),
        (np.zeros((3, 20, 24), np.uint8), r"image 0 has its channels first, .* np\.moveaxis"),
        (np.zeros((2, 3, 20, 24)), r"image 0 has its channels first"),
    ],
)
def test_inputs_of_other_kinds_are_refused(echo, inputs, message):
    with pytest.raises(ValueError, match=message):
        reconstruct(echo(), inputs)


def test_the_name_of_a_model_is_not_a_model(photos):
    with pytest.raises(ValueError, match=r"not a loaded model: pass zipmap_jax\.load\('tiny'\)"):
        reconstruct("tiny", photos)  # pyright: ignore[reportArgumentType]


def test_size_zero_is_refused(photos, echo):
    with pytest.raises(ValueError, match="got 0: try 8"):
        reconstruct(echo(), photos, size=0)


def test_out_of_memory_names_a_remedy(photos, echo):
    with pytest.raises(ValueError, match=r"memory ran out: use a chunk of 1 \(now 3\)"):
        reconstruct(echo(failure="too much"), photos)


def test_out_of_memory_of_the_accelerator(photos, echo, monkeypatch):
    def program(*args):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")

    monkeypatch.setattr(
        "zipmap_jax.inference.reconstruct.compiled_update",
        lambda model, params, bucket, *_: Program(program, bucket, 0.0, cached=False),
    )
    with pytest.raises(ValueError, match=r"use at most 1 views \(now 3\)"):
        reconstruct(echo(), photos, chunk=1)


def test_other_errors_are_passed_on(photos, echo, monkeypatch):
    def program(*args):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    monkeypatch.setattr(
        "zipmap_jax.inference.reconstruct.compiled_update",
        lambda model, params, bucket, *_: Program(program, bucket, 0.0, cached=False),
    )
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        reconstruct(echo(), photos)


def test_lack_of_memory_warns(photos, echo, monkeypatch):
    monkeypatch.setattr("zipmap_jax.inference.reconstruct.free_memory", lambda: (None, 1000))
    with pytest.warns(UserWarning, match="memory for 3 views .* use a smaller network size"):
        reconstruct(echo(), photos, chunk=1)


def test_hopeless_lack_of_memory_raises(photos, echo, monkeypatch):
    monkeypatch.setattr("zipmap_jax.inference.reconstruct.free_memory", lambda: (None, 1000))
    with pytest.raises(ValueError, match=r"memory for 3 views .* set a chunk to run"):
        reconstruct(echo(), photos)


MICRO = ZipMapConfig(
    preset="micro",
    embedder=EmbedderConfig(width=16, depth=0, heads=2, patch=4, image_size=16),
    depth=4,
    heads=2,
    taps=(0, 1, 2, 3),
    camera=CameraHeadConfig(depth=1, heads=2),
    dense=DenseHeadConfig(features=8, out_channels=(4, 4, 8, 8), hidden=4),
)


def test_padding_does_not_change_the_result_of_a_zipmap(echo):
    """Three views equal the same padded to four, in chunks of two, up to summation order."""
    model = ZipMap(MICRO)
    shapes = jax.eval_shape(model.init, jax.random.key(0))  # much faster than a real init
    params = jax.tree.map(lambda x: RNG.normal(0, 0.2, x.shape).astype(np.float32), shapes)
    loaded = dataclasses.replace(echo(), model=model, params=params)
    images = RNG.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    programs = []

    def prediction(chunk, rounded):
        options = ComputeOptions(chunk)
        return predict(loaded, images, options, rounded, on_program=programs.append)

    whole, chunked = prediction(None, False), prediction(2, True)
    assert [(p.bucket.views, p.bucket.chunk) for p in programs] == [(3, None), (4, 2)]
    _assert_equal_up_to_rounding(whole, chunked)
    forget_programs()
    with jax.enable_x64(True):  # as JAX_ENABLE_X64 does
        _assert_equal_up_to_rounding(whole, prediction(2, True))
    forget_programs()


def _assert_equal_up_to_rounding(one, other):
    for name in ("depth", "depth_conf", "w2c", "intrinsics"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.shape == b.shape
        finite = np.isfinite(a)  # random weights give fields of view of 0
        np.testing.assert_array_equal(a[~finite], b[~finite])
        assert np.linalg.norm(a[finite] - b[finite]) <= 1e-5 * np.linalg.norm(a[finite])


def test_similar_numbers_of_views_use_one_program(photos, echo):
    """Three and four views have the same bucket."""
    programs = []
    model, names = echo(), [photos / f"{i}.png" for i in range(2)]
    for inputs in ([*names, photos / "1.png"], [*names, *names]):
        reconstruct(model, inputs, on_program=programs.append)
    assert programs[0] is programs[1]
    assert programs[0].bucket.views == 4


def test_views_are_rounded_up_only_if_that_fits(photos, echo, monkeypatch):
    programs = []

    def estimate(workload, *free):
        unlimited = estimate_memory(workload, None, None)
        return dataclasses.replace(unlimited, free_host=0) if workload.views > 3 else unlimited

    monkeypatch.setattr("zipmap_jax.inference.scene_plan.estimate_memory", estimate)
    scene = reconstruct(echo(), photos, on_program=programs.append)
    assert (len(scene), programs[0].bucket.views) == (3, 3)
