import signal
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.picture_files import Camera
from ccnet_core.video import predict_video, require_av

av = pytest.importorskip("av", reason="needs the extra `video`")


@pytest.fixture
def clip(tmp_path):
    """Write a video of `times`, in 1/600 s. To the right it grows brighter, and from frame to frame redder."""

    def write(times, *, width=48, height=32, name="clip.mp4"):
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
            stream.width, stream.height = width, height
            stream.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
            stream.codec_context.time_base = Fraction(1, 600)
            for index, time in enumerate(times):
                frame = av.VideoFrame.from_ndarray(scene(index, width, height), format="rgb24")
                frame.pts, frame.time_base = time, Fraction(1, 600)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return write


def scene(index, width, height):
    columns = np.linspace(40, 140, width)[:, None] + (8 * index, 60, 0)
    return np.broadcast_to(columns, (height, width, 3)).round().astype(np.uint8)


def read(path):
    """Return the frames of a video and the time of each in seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        pictures = [frame.to_ndarray(format="rgb24") for frame in frames]
        return pictures, [float(frame.pts * frame.time_base) for frame in frames]


EVEN = [0, 24, 48, 72, 96, 120]
UNEVEN = [0, 24, 30, 90, 91, 300]


@pytest.mark.parametrize("times", [EVEN, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize("size", [(48, 32), (47, 33)])
def test_frames_keep_their_size_and_time(tiny, clip, tmp_path, times, size):
    path, out = clip(times, width=size[0], height=size[1]), tmp_path / "out" / "drawn.mp4"
    predict_video(tiny, path, {out: lambda frame, _: frame})
    frames, seconds = read(path)
    written, at = read(out)
    assert at == pytest.approx([time / 600 for time in times], abs=1e-4) == seconds
    assert [frame.shape for frame in written] == [(size[1], size[0], 3)] * len(times)
    for ours, theirs in zip(written, frames, strict=True):
        assert np.abs(ours.astype(int) - theirs).mean() < 3


def test_each_frame_is_drawn_with_its_own_labels(tiny, clip, tmp_path):
    drawn = []
    path = clip(EVEN)
    predict_video(tiny, path, {tmp_path / "a.mp4": lambda *given: drawn.append(given) or given[0]}, batch_size=4)
    frames, _ = read(path)
    assert len(drawn) == len(frames)
    for (frame, labels), expected in zip(drawn, frames, strict=True):
        np.testing.assert_array_equal(frame, expected)
        np.testing.assert_array_equal(labels, ccnet.predict(tiny, expected).labels)


def test_options_are_those_of_predict(tiny, clip, tmp_path):
    options = {"mode": "slide", "crop": (16, 24), "stride": (11, 16)}
    drawn = []
    path = clip(EVEN[:2])
    predict_video(tiny, path, {tmp_path / "a.mp4": lambda *given: drawn.append(given) or given[0]}, **options)
    for frame, labels in drawn:
        np.testing.assert_array_equal(labels, ccnet.predict(tiny, frame, **options).labels)


def test_several_videos_are_written_at_once(tiny, clip, tmp_path):
    double = {tmp_path / "b.mp4": lambda frame, _: np.hstack([frame, frame])}
    places = {tmp_path / "a.mp4": lambda frame, _: frame} | double
    predict_video(tiny, clip(EVEN), places)
    assert [read(place)[0][0].shape for place in places] == [(32, 48, 3), (32, 96, 3)]


def test_a_frame_is_turned_upright_as_the_video_says(tiny, clip, tmp_path):
    path = clip(EVEN[:2])
    upright, _ = read(path)
    content = path.read_bytes()
    # The matrix of the track header (ISO 14496-12, 8.3.2): as a phone writes it that was held a quarter to the right.
    numbers = {"identity": (1, 0, 0, 0, 1, 0, 0, 0, 0x4000), "turned": (0, 1, 0, -1, 0, 0, 0, 0, 0x4000)}
    matrix = {name: b"".join((n << 16).to_bytes(4, "big", signed=True) for n in of) for name, of in numbers.items()}
    start = content.index(b"tkhd")
    place = content.index(matrix["identity"], start)
    path.write_bytes(content[:place] + matrix["turned"] + content[place + 36 :])
    drawn = []
    predict_video(tiny, path, {tmp_path / "a.mp4": lambda frame, _: drawn.append(frame) or frame})
    np.testing.assert_array_equal(drawn[0], np.rot90(upright[0], -1))  # clockwise
    assert read(tmp_path / "a.mp4")[0][0].shape == (48, 32, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a video that can be read"),
        (b"no video at all", "not a video that can be read"),
        (None, "there is no such file|not a video that can be read"),
    ],
)
def test_what_is_no_video_is_refused(tiny, tmp_path, content, message):
    path, out = tmp_path / "a.mp4", tmp_path / "out.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ccnet.PictureError, match=rf"a\.mp4: ({message})"):
        predict_video(tiny, path, {out: lambda frame, _: frame})
    assert not out.exists()


def test_a_video_that_is_cut_short_is_refused_and_leaves_nothing(tiny, clip, tmp_path):
    path, out = clip(EVEN), tmp_path / "out" / "a.mp4"
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"moov") - 200])
    with pytest.raises(ccnet.PictureError, match=r"clip\.mp4: "):
        predict_video(tiny, path, {out: lambda frame, _: frame})
    assert list(tmp_path.glob("out/*")) == list(tmp_path.glob("out/.*")) == []


def test_sound_alone_is_no_video(tiny, tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(ccnet.PictureError, match="holds no video"):
        predict_video(tiny, path, {tmp_path / "b.mp4": lambda frame, _: frame})


def test_an_interruption_leaves_no_half_video(tiny, clip, tmp_path):
    def interrupted(frame, _):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_video(tiny, clip(EVEN), {tmp_path / "out" / "a.mp4": interrupted})
    assert [*(tmp_path / "out").iterdir()] == []


def test_a_missing_extra_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ccnet.PictureError, match=r'python -m pip install "ccnet-core\[video\]"'):
        require_av()


@pytest.fixture
def of_clips(enliven):
    return enliven(ccnet.CCNet.from_config("ccnet_tiny", num_classes=4, frames=3)).eval()


def test_a_model_of_clips_looks_at_the_frames_before(of_clips, clip, tmp_path):
    drawn = []
    path = clip(UNEVEN)
    done = predict_video(of_clips, path, {tmp_path / "a.mp4": lambda *given: drawn.append(given) or given[0]})
    frames, seconds = read(path)
    frames = [torch.tensor(frame).permute(2, 0, 1) for frame in frames]
    for t, (_, labels) in enumerate(drawn):
        expected = ccnet.predict(of_clips, torch.stack(frames[max(0, t - 2) : t + 1])).labels
        assert (labels == expected).mean() > 0.999  # equal but for rounding
    assert read(tmp_path / "a.mp4")[1] == pytest.approx(seconds, abs=1e-4)
    assert done.frames == len(UNEVEN)
    assert str(done).startswith("6 frames in ")
    assert "frames per second, at most" in str(done)


@pytest.mark.parametrize("model", ["tiny", "of_clips"])
def test_ctrl_c_ends_the_video_of_a_camera_whole(model, clip, tmp_path, monkeypatch, request):
    path, out, opened = clip(EVEN), tmp_path / "out" / "a.mp4", []
    open_file = av.open
    monkeypatch.setattr(sys, "platform", "linux")

    def open_camera(name, *rest, **options):
        if not name.startswith("/dev/"):
            return open_file(name, *rest, **options)
        opened.append((name, options))
        return open_file(str(path))

    monkeypatch.setattr(av, "open", open_camera)
    before = signal.getsignal(signal.SIGINT)

    def interrupted(frame, _):
        signal.raise_signal(signal.SIGINT)
        return frame

    done = predict_video(request.getfixturevalue(model), Camera(3), {out: interrupted}, batch_size=1)
    assert opened == [("/dev/video3", {"format": "v4l2"})]
    assert 1 <= done.frames < len(EVEN)
    assert len(read(out)[0]) == done.frames
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("platform", "message"),
    [("linux", "camera:97: /dev/video97 cannot be opened"), ("darwin", "camera:97: cameras are read on Linux only")],
)
def test_a_camera_that_is_not_there_is_refused(tiny, tmp_path, monkeypatch, platform, message):
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(ccnet.PictureError, match=message):
        predict_video(tiny, Camera(97), {tmp_path / "a.mp4": lambda frame, _: frame})


def test_frames_that_change_their_size_are_labelled_and_written_in_the_first_one(of_clips, clip, tmp_path, monkeypatch):
    small, large = clip(EVEN[:3]), clip(EVEN[:3], width=64, height=48, name="large.mp4")
    mixed = [*read(small)[0], *read(large)[0]]
    monkeypatch.setattr("ccnet_core.video._frames", lambda path, stream, times: _timed(mixed, times))
    shapes = []
    out = tmp_path / "a.mp4"
    predict_video(of_clips, small, {out: lambda frame, labels: shapes.append(labels.shape) or frame})
    assert shapes == [(32, 48)] * 3 + [(48, 64)] * 3
    assert [frame.shape for frame in read(out)[0]] == [(32, 48, 3)] * 6


def _timed(frames, times):
    for index, frame in enumerate(frames):
        times.append((index * 512, 512))
        yield frame
