"""Videos frame by frame, by PyAV, the extra `video`: any that it reads, and cameras, to H.264 in MP4."""

import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, cast

import numpy as np
from numpy.typing import NDArray

from ccnet_core import files
from ccnet_core.bar import bar
from ccnet_core.clip_predictor import predict_frames
from ccnet_core.errors import PictureError
from ccnet_core.peak_memory import peak_memory
from ccnet_core.picture_files import Camera
from ccnet_core.predict import PlanOptions, Segmenter
from ccnet_core.predict_many import PicturePrediction, predict_many
from ccnet_core.render import Array

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

Draw = Callable[[Array, NDArray[np.integer]], Array]
"""What is drawn of a frame, uint8 (H, W, 3) RGB, and its labels (H, W)."""

ENCODING = {"crf": "18", "preset": "fast"}
"""Of x264: at 18 little is lost, which the hard edges between classes would show."""

BT709 = 1
"""Of H.264's tables of colour spaces, primaries and transfer characteristics: that of HD video."""

VIDEO_RANGE = 1
"""Luminance from 16 to 235."""


@dataclass(frozen=True, kw_only=True)
class VideoRun:
    """How many `frames` were labelled in `seconds`, reading and writing included.

    `memory` is the most that the process has held, in GiB, None where the system does not tell.
    """

    frames: int
    seconds: float
    memory: float | None

    def __str__(self) -> str:
        held = "" if self.memory is None else f", at most {self.memory:.2f} GiB held"
        return f"{self.frames} frames in {self.seconds:.1f} s, {self.frames / self.seconds:.1f} frames per second{held}"


def predict_video(
    model: Segmenter,
    source: Path | Camera,
    drawings: Mapping[Path, Draw],
    *,
    batch_size: int = 4,
    show: bool = False,
    **options: Unpack[PlanOptions],
) -> VideoRun:
    """Segment a video; for each of `drawings` write a video of what is drawn of its frames and their labels.

    A model of clips labels each frame from it and those before it, as :class:`ccnet_core.ClipPredictor` does, another
    one each by itself, `batch_size` at once. The options are those of :func:`ccnet_core.predict`, `show` a bar on
    stderr. Frames are turned upright as the video says, and keep their size and time; there is no sound. Memory does
    not grow with the length. A camera's video goes on until Ctrl-C, which ends it whole.

    The videos are written beside their place and renamed. Raises PictureError for a video that cannot be read, for a
    camera that is not there, and without the extra.
    """
    require_av()
    times: deque[tuple[int, int]] = deque()
    start = time.perf_counter()
    with _open(source) as stream, ExitStack() as stack:
        frames = _frames(source, stream, times)
        if isinstance(source, Camera):
            frames = stack.enter_context(_until_interrupted(frames))
        predictions = stack.enter_context(closing(_predictions(model, frames, batch_size, **options)))
        writers = [(draw, stack.enter_context(_writer(place, stream))) for place, draw in drawings.items()]
        name = source.name if isinstance(source, Path) else str(source)
        shown = stack.enter_context(bar(stream.frames or None, name, unit="frames", show=show))
        done = 0
        for prediction in predictions:
            frame, (at, duration) = prediction.picture.permute(1, 2, 0).numpy(), times.popleft()
            for draw, write in writers:
                write(draw(frame, prediction.labels), at, duration)
            shown.update()
            done += 1
    return VideoRun(frames=done, seconds=time.perf_counter() - start, memory=peak_memory(model.device))


def _predictions(
    model: Segmenter, frames: Iterable[Array], batch_size: int, **options: Unpack[PlanOptions]
) -> Generator[PicturePrediction, None, None]:
    if model.config.task == "video":
        return predict_frames(model, frames, **options)
    return predict_many(model, frames, batch_size=batch_size, **options)


@contextmanager
def _until_interrupted(frames: Iterator[Array]) -> Iterator[Iterator[Array]]:
    """Give `frames` until Ctrl-C, which then ends them and not the program."""
    asked: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: asked.append(number))
    try:
        yield takewhile(lambda _: not asked, frames)
    finally:
        signal.signal(signal.SIGINT, before)


def require_av() -> None:
    """Raise PictureError with the command that installs PyAV, if it is missing."""
    try:
        import av  # noqa: F401
    except ImportError:
        raise PictureError('A video needs PyAV. Install it: python -m pip install "ccnet-core[video]"') from None


@contextmanager
def _open(source: Path | Camera) -> Iterator["VideoStream"]:
    container = _open_camera(source) if isinstance(source, Camera) else _open_file(source)
    with container:
        if not container.streams.video:
            raise PictureError(f"{source}: this file holds no video.")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        yield stream


def _open_file(path: Path) -> "InputContainer":
    import av

    try:
        return av.open(str(path))
    except av.FFmpegError as error:
        raise PictureError(
            f"{path}: not a video that can be read ({error.strerror}). Fetch or export it again."
        ) from None


def _open_camera(camera: Camera) -> "InputContainer":
    import av

    if sys.platform != "linux":
        raise PictureError(f"{camera}: cameras are read on Linux only. Record a video and give its name.")
    device = f"/dev/video{camera.number}"
    try:
        return av.open(device, format="v4l2")
    except (av.FFmpegError, OSError) as error:
        raise PictureError(f"{camera}: {device} cannot be opened ({error.strerror}). Is a camera there?") from None


def _frames(source: Path | Camera, stream: "VideoStream", times: deque[tuple[int, int]]) -> Iterator[Array]:
    """Give the frames, upright, and add the time and duration of each, in the stream's unit, to `times`."""
    import av

    usual = round(1 / (stream.guessed_rate or 25) / _unit(stream))
    index = -1
    try:
        for index, frame in enumerate(cast("InputContainer", stream.container).decode(stream)):
            times.append((index * usual if frame.pts is None else frame.pts, frame.duration or usual))
            yield np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
    except av.FFmpegError as error:
        raise PictureError(f"{source}: damaged or unreadable ({error.strerror}). Fetch or export it again.") from error
    if index < 0:
        raise PictureError(f"{source}: this video holds no frame.")


def _unit(stream: "VideoStream") -> Fraction:
    """Return the unit of the stream's times in seconds; files of bare frames have none."""
    return stream.time_base or Fraction(1, 90_000)


@contextmanager
def _writer(path: Path, like: "VideoStream") -> Iterator[Callable[[Array, int, int], None]]:
    """Give what adds a frame with its time and duration, in the unit of the stream `like`, to the video `path`."""
    import av

    with files.replace_file(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=like.guessed_rate or 25, options=ENCODING)
        stream.codec_context.time_base = _unit(like)

        def write(picture: Array, time: int, duration: int) -> None:
            height, width, _ = picture.shape
            if not stream.codec_context.is_open:
                stream.width, stream.height = width, height
                # Colours at half the resolution, as every player knows them, need even edges.
                stream.pix_fmt = "yuv444p" if height % 2 or width % 2 else "yuv420p"
                _tag_colours(stream)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(
                stream.width, stream.height, stream.pix_fmt, dst_colorspace=BT709, dst_color_range=VIDEO_RANGE
            )
            frame.pts, frame.duration, frame.time_base = time, duration, _unit(like)
            container.mux(stream.encode(frame))

        yield write
        container.mux(stream.encode())


def _tag_colours(stream: "VideoStream") -> None:
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = BT709
    context.color_range = VIDEO_RANGE
