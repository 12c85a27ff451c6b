from __future__ import annotations

import re
import struct
import sys

import numpy as np
import pytest

from tests.pictures import read_frames
from zipmap_jax.errors import UserError
from zipmap_jax.images.frames import FrameReader
from zipmap_jax.images.options import ReadOptions
from zipmap_jax.images.sampling import sampled_frames, sampling_interval
from zipmap_jax.images.sources import ImageSource, list_sources
from zipmap_jax.images.video import frame_size, video_frames
from zipmap_jax.images.video_index import DamagedVideoError, list_frames


def read_video(path, fps=100, exif=True):
    return list(video_frames(path, list_frames(path, fps), exif))


def levels(frames):
    return [round(float(frame.image[-8:, -8:].mean()) / 10) for frame in frames]


@pytest.mark.parametrize(
    ("video_fps", "target", "interval"),
    [(30, 1, 30), (29.97, 1, 30), (24, 10, 2), (25, 10, 2), (35, 10, 4), (10, 30, 1), (1, 1, 1)],
)
def test_interval_rounds_half_to_even(video_fps, target, interval):
    assert sampling_interval(video_fps, target) == interval


def test_frames_are_counted_from_one(make_video):
    path = make_video(count=12, fps=4)
    frames = read_video(path, fps=1)
    assert levels(frames) == [4, 8, 12]
    assert [frame.name for frame in frames] == ["clip_000004", "clip_000008", "clip_000012"]
    np.testing.assert_allclose([frame.time for frame in frames], [0.75, 1.75, 2.75])
    assert frame_size(path) == (32, 64)


def test_a_rate_above_the_videos_gives_every_frame(make_video):
    path = make_video(count=5, fps=4)
    assert levels(read_video(path, fps=100)) == [1, 2, 3, 4, 5]


def test_video_shorter_than_the_interval_gives_its_first_frame(make_video):
    path = make_video(count=3, fps=4)
    with pytest.warns(UserWarning, match=r"clip\.mp4 gives 1 view of its 3 frames at fps 1: raise"):
        frames = read_video(path, fps=1)
    assert levels(frames) == [1]
    assert frames[0].time == 0


def test_only_the_kept_frames_are_returned(make_video):
    path = make_video(count=12, fps=4)
    assert levels(video_frames(path, {3, 9})) == [4, 10]


FILM = {
    "clip.mp4": "mpeg4",
    "clip.ts": "mpeg2video",  # its time starts at 1.4 s
    "clip.mpg": "mpeg2video",
    "clip.mkv": "mpeg4",
    "clip.m2v": "mpeg2video",  # no index and no duration
    "clip.mjpeg": "mjpeg",  # neither, and a rate of 25 by assumption
}


@pytest.mark.parametrize("name", FILM)
def test_every_frame_of_every_container(make_video, name):
    path = make_video(name, count=12, fps=25, codec=FILM[name])
    frames = read_video(path)
    assert levels(frames) == list(range(1, 13))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(12) / 25, atol=2e-3)
    assert levels(read_video(path, fps=8)) == [3, 6, 9, 12]


def test_variable_rate_is_sampled_by_time(make_video):
    milliseconds = [*range(0, 1500, 100), *range(1500, 6000, 500)]
    path = make_video("clip.mkv", count=24, fps=10, milliseconds=milliseconds)
    times = [frame.time for frame in read_video(path, fps=1)]
    np.testing.assert_allclose(times, [0, 1, 2, 3, 4, 5], atol=2e-3)


@pytest.mark.parametrize("fps", [0.3, 1, 7, 100])
def test_views_of_a_variable_rate_are_within_half_the_spacing_of_their_due_times(fps):
    times = np.cumsum(np.random.default_rng(0).choice([0.01, 0.03, 0.7], 300))
    times -= times[0]
    numbers = sampled_frames(times, fps)
    assert (np.diff(numbers) > 0).all()
    for due in np.arange(0, times[-1], 1 / fps):
        i = np.searchsorted(times, due, side="right") - 1
        spacing = times[min(i + 1, 299)] - times[i]
        assert np.abs(times[numbers] - due).min() <= spacing / 2 + 1e-6


def test_jitter_and_the_stated_rate_do_not_change_the_interval():
    times = np.round(np.arange(60) / 29.97, 3)
    assert sampled_frames(times, 12, 30000 / 1001).tolist() == list(range(1, 60, 2))
    # The stated rate of a shortened clip is too high.
    assert sampled_frames(np.arange(21) / 30, 5, 85.7).tolist() == [5, 11, 17]


def test_clip_cut_by_an_edit_list_lists_its_shown_frames(make_video):
    path = make_video(count=12, fps=4)
    data = path.read_bytes()
    at = data.index(b"elst")
    # The time scale of the movie is 1000, that of the stream 16384: the last 1.25 s are shown.
    scale = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)[0]
    entry = struct.pack(">ii", 1250, scale * 7 // 4)
    path.write_bytes(data[: at + 12] + entry + data[at + 20 :])
    assert levels(read_video(path)) == [8, 9, 10, 11, 12]
    sources = list_sources(path, ReadOptions(fps=4, max_views=3, strict=True))
    assert [source.frame for source in sources] == [0, 2, 4]
    assert len(read_frames(path, fps=4, max_views=3, strict=True)) == 3
    with pytest.warns(UserWarning, match="max_views is 9, but fps 4 gives 5 views: raise fps"):
        assert len(read_frames(path, fps=4, max_views=9)) == 5
    with pytest.raises(UserError, match="max_views is 9, but fps 4 gives 5 views: raise fps"):
        read_frames(path, fps=4, max_views=9, strict=True)


def test_cover_picture_before_the_film_is_not_the_film(tmp_path):
    """Neither is a small thumbnail track, whether or not the file marks them."""
    av = pytest.importorskip("av")
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        sizes, counts = [(64, 96), (16, 16), (32, 48)], [1, 8, 8]
        streams = [container.add_stream("mjpeg", rate=4) for _ in sizes]
        for stream, (height, width) in zip(streams, sizes, strict=True):
            stream.height, stream.width, stream.pix_fmt = height, width, "yuvj420p"
        for i in range(8):
            for stream, count in zip(streams, counts, strict=True):
                if i < count:
                    image = np.full((stream.height, stream.width, 3), 20 * i, np.uint8)
                    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                    container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())
    frames = read_video(path)
    assert [frame.image.shape for frame in frames] == [(32, 48, 3)] * 8


def test_frames_after_damage_are_used_and_the_missing_span_is_named_once(make_video):
    path = make_video("clip.avi", count=24, fps=8)
    chunks = path.read_bytes().split(b"00dc")
    for i in range(10, 13):  # chunk 1 is the name in the header, chunk 2 the first frame
        chunks[i] = chunks[i][:4] + b"\xff" * (len(chunks[i]) - 4)
    path.write_bytes(b"00dc".join(chunks))
    with pytest.warns(UserWarning, match=r"clip\.avi is damaged and frames are missing") as caught:
        frames = read_video(path)
    assert len(caught) == 1
    seen = levels(frames)
    assert set(seen) >= {*range(1, 8), *range(17, 25)}
    assert seen == sorted(set(seen))
    assert len(seen) < 24
    missing = re.findall(r"([\d.]+) to ([\d.]+) s", str(caught[0].message))
    assert missing
    assert all(0.7 < float(a) < float(b) <= 2 for a, b in missing)
    with pytest.raises(DamagedVideoError, match="copy it again"):
        list_sources(path, ReadOptions(fps=8, strict=True))


def test_lost_packets_of_a_transport_stream_are_named(make_video):
    path = make_video("clip.ts", count=24, fps=25, codec="mpeg2video")
    data = path.read_bytes()
    cut = 188 * (len(data) // 188 // 3)
    path.write_bytes(data[:cut] + data[2 * cut :])
    with pytest.warns(UserWarning, match=r"clip\.ts is damaged and frames are missing \(0\.\d+ to"):
        frames = read_video(path)
    assert levels(frames)[-1] == 24
    assert len(frames) < 20


def test_video_without_any_decodable_frame_is_refused(make_video):
    path = make_video("clip.avi", count=6)
    chunks = path.read_bytes().split(b"00dc")
    chunks[2:] = [c[:4] + b"\xff" * (len(c) - 4) for c in chunks[2:]]
    path.write_bytes(b"00dc".join(chunks))
    with pytest.raises(UserError, match=r"clip\.avi has no frame that can be decoded: export"):
        read_frames(path)


def test_listed_frames_that_the_video_does_not_yield_are_reported_once(make_video):
    path = make_video(count=4, fps=4)
    sources = [ImageSource(path, i) for i in (0, 1, 7, 8, 9)]
    message = r"clip\.mp4 yields 2 of the 5 frames to use: copy it again"
    with (
        FrameReader(sources, ReadOptions(), lambda frame: None) as reader,
        pytest.warns(UserWarning, match="left out: .*" + message) as caught,
    ):
        assert len(list(reader)) == 2
    assert len(caught) == 1
    strict = ReadOptions(strict=True)
    with (
        FrameReader(sources, strict, lambda frame: None) as reader,
        pytest.raises(UserError, match=message),
    ):
        list(reader)


@pytest.mark.parametrize("form", ["yuv420p10le", "yuv422p"])
def test_ten_bits_and_interlaced_fields(tmp_path, form):
    av = pytest.importorskip("av")
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        codec = "ffv1" if form.endswith("10le") else "mpeg2video"
        stream = container.add_stream(codec, rate=4, options={"flags": "+ilme+ildct"})
        stream.height, stream.width, stream.pix_fmt = 32, 48, form
        for i in range(4):
            image = np.full((32, 48, 3), 10 * i + 10, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    assert levels(read_video(path)) == [1, 2, 3, 4]


# Display matrices (a, b, c, d) and NumPy's operation that makes the picture upright.
MATRICES = {
    "as it is": ((1, 0, 0, 1), lambda x: x),
    "portrait phone": ((0, 1, -1, 0), lambda x: np.rot90(x, -1)),
    "upside down": ((-1, 0, 0, -1), lambda x: np.rot90(x, 2)),
    "counterclockwise": ((0, -1, 1, 0), np.rot90),
    "front camera": ((-1, 0, 0, 1), np.fliplr),
    "vertical flip": ((1, 0, 0, -1), np.flipud),
    "transposed": ((0, 1, 1, 0), lambda x: x.swapaxes(0, 1)),
    "transverse": ((0, -1, -1, 0), lambda x: np.rot90(x, 2).swapaxes(0, 1)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_recorded_rotation_and_reflection_are_applied(make_video, name):
    path = make_video(count=1, size=(32, 64))
    (stored,) = read_video(path)
    (a, b, c, d), upright = MATRICES[name]
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    struct.pack_into(">6i", data, at, *(value << 16 for value in (a, b, 0, c, d, 0)))
    path.write_bytes(data)
    np.testing.assert_array_equal(read_video(path)[0].image, upright(stored.image))
    np.testing.assert_array_equal(read_video(path, exif=False)[0].image, stored.image)
    assert frame_size(path) == upright(stored.image).shape[:2]


def test_file_that_is_no_video_is_refused(tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("hello")
    with pytest.raises(ValueError, match=r"notes\.mp4 is not a video that can be read"):
        read_video(path, 1)
    with pytest.raises(ValueError, match=r"gone\.mp4 does not exist"):
        read_video(tmp_path / "gone.mp4", 1)


def test_video_without_frames_is_refused(make_video):
    path = make_video(count=0)
    with pytest.raises(ValueError, match=r"clip\.mp4 .*(export|pictures)"):
        read_video(path, 1)


def test_video_of_an_unknown_codec_is_refused(make_video):
    path = make_video("clip.avi", count=2)
    path.write_bytes(path.read_bytes().replace(b"FMP4", b"Q?!9"))
    with pytest.raises(UserError, match=r"clip\.avi has no video stream that can be decoded"):
        read_video(path)


def test_file_with_sound_only_is_refused(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        sound.sample_rate = 8000
        for packet in [*stream.encode(sound), *stream.encode()]:
            container.mux(packet)
    with pytest.raises(ValueError, match=r"sound\.mp4 has no video stream"):
        read_video(path, 1)


def test_truncated_video_yields_the_frames_before_its_end(make_video):
    path = make_video("clip.avi", count=12, fps=4, size=(64, 64))
    chunks = path.read_bytes().split(b"00dc")
    path.write_bytes(b"00dc".join(chunks[:8]))  # the header (which names the chunk) and 6 frames
    with pytest.warns(UserWarning, match=r"clip\.avi ends after 1\.2 of 2\.\d seconds"):
        assert levels(read_video(path, fps=4)) == [1, 2, 3, 4, 5, 6]
    with pytest.raises(DamagedVideoError, match="copy it again"):
        list_sources(path, ReadOptions(fps=4, strict=True))


def test_repeated_video_is_refused(make_video):
    path = make_video()
    with pytest.raises(ValueError, match=r"clip\.mp4 occurs twice"):
        list_sources([path, path])


def test_missing_pyav_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.mp4").touch()
    with pytest.raises(ValueError, match="pip install av"):
        read_video(tmp_path / "a.mp4", 1)
