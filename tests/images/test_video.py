from __future__ import annotations

import struct
import sys

import numpy as np
import pytest

from zipmap_jax.images.options import ReadOptions
from zipmap_jax.images.sources import list_sources
from zipmap_jax.images.video import (
    TruncatedVideoError,
    count_frames,
    frame_size,
    sampling_interval,
    video_frames,
)


def read_video(*args, **options):
    return list(video_frames(*args, **options))


def levels(frames):
    return [round(float(frame.image[:, -8:].mean()) / 10) for frame in frames]


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
    assert count_frames(path, 1) == 3
    assert frame_size(path) == (32, 64)


def test_a_rate_above_the_videos_gives_every_frame(make_video):
    path = make_video(count=5, fps=4)
    assert levels(read_video(path, fps=100)) == [1, 2, 3, 4, 5]
    assert count_frames(path, 100) == 5


def test_video_shorter_than_the_interval_gives_its_first_frame(make_video):
    path = make_video(count=3, fps=4)
    frames = read_video(path, fps=1)
    assert levels(frames) == [1]
    assert frames[0].time == 0
    assert count_frames(path, 1) == 1


def test_only_the_kept_frames_are_returned(make_video):
    path = make_video(count=12, fps=4)
    assert levels(read_video(path, fps=2, keep={1, 4})) == [4, 10]


def test_recorded_rotation_is_applied(make_video):
    path = make_video(count=2, size=(32, 64))
    upright = [0, 1, 0, -1, 0, 0]  # display matrix of a portrait phone: a quarter turn clockwise
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    struct.pack_into(">6i", data, at, *(value << 16 for value in upright))
    path.write_bytes(data)
    frame = read_video(path, fps=10)[0].image
    assert frame.shape == (64, 32, 3)
    # The bright left third is now at the top.
    assert frame[:16].mean() > 90 > 40 > frame[-16:].mean()
    assert read_video(path, fps=10, exif=False)[0].image.shape == (32, 64, 3)


def test_file_that_is_no_video_is_refused(tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("hello")
    for read in (read_video, count_frames):
        with pytest.raises(ValueError, match=r"notes\.mp4 is not a video that can be read"):
            read(path, 1)
    with pytest.raises(ValueError, match=r"gone\.mp4 does not exist"):
        read_video(tmp_path / "gone.mp4", 1)


def test_video_without_frames_is_refused(make_video):
    path = make_video(count=0)
    with pytest.raises(ValueError, match=r"clip\.mp4 .*(export|pictures)"):
        read_video(path, 1)


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
    assert levels(read_video(path, fps=4)) == [1, 2, 3, 4, 5, 6]
    with pytest.warns(UserWarning, match=r"clip\.avi ends after 1\.2 of 2\.8 seconds"):
        assert count_frames(path, fps=4) == 6
    with pytest.raises(TruncatedVideoError, match="copy it again"):
        list_sources(path, ReadOptions(fps=4, strict=True))


def test_repeated_video_is_refused(make_video):
    path = make_video()
    with pytest.raises(ValueError, match=r"clip\.mp4 occurs twice"):
        list_sources([path, path])


def test_damaged_video_warns_and_yields_the_frames_before_the_damage(make_video, monkeypatch):
    av = pytest.importorskip("av")
    path = make_video(count=6, fps=4)

    def decode(container, stream):
        frames = container.demux(stream)
        for _, packet in zip(range(3), frames, strict=False):
            yield from packet.decode()
        raise av.error.InvalidDataError(1, "Invalid data")

    real = av.open

    def opened(name):
        return Damaged(real(name), decode)

    monkeypatch.setattr(av, "open", opened)
    with pytest.warns(UserWarning, match=r"clip\.mp4 is damaged and is used up to there"):
        frames = read_video(path, fps=4)
    assert 0 < len(frames) < 6
    with pytest.raises(ValueError, match=r"clip\.mp4 is damaged"):
        read_video(path, fps=4, strict=True)


class Damaged:
    """A container whose decoder fails half way."""

    def __init__(self, container, decode):
        self.container, self._decode = container, decode

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.container.close()

    def __getattr__(self, name):
        return getattr(self.container, name)

    def decode(self, stream):
        return self._decode(self.container, stream)


def test_missing_pyav_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.mp4").touch()
    with pytest.raises(ValueError, match="pip install av"):
        read_video(tmp_path / "a.mp4", 1)
