"""Videos frame by frame, by PyAV, the extra `video`: any that it reads, to H.264 in MP4."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, cast

import numpy as np
from numpy.typing import NDArray

from ccnet_core import files
from ccnet_core.bar import bar
from ccnet_core.errors import PictureError
from ccnet_core.predict import PlanOptions, Segmenter
from ccnet_core.predict_many import predict_many
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


def predict_video(
    model: Segmenter,
    path: Path,
    drawings: Mapping[Path, Draw],
    *,
    batch_size: int = 4,
    show: bool = False,
    **options: Unpack[PlanOptions],
) -> None:
    """Segment the video `path`; for each of `drawings` write a video of what is drawn of its frames and their labels.

    The options are those of :func:`ccnet_core.predict`, `show` a bar on stderr. Frames are turned upright as the video
    says, and keep their size and time; there is no sound. Memory does not grow with the length. The videos are written
    beside their place and renamed. Raises PictureError for a video that cannot be read, and without the extra.
    """
    require_av()
    times: deque[tuple[int, int]] = deque()
    with _open(path) as stream, ExitStack() as stack:
        frames = _frames(path, stream, times)
        predictions = stack.enter_context(closing(predict_many(model, frames, batch_size=batch_size, **options)))
        writers = [(draw, stack.enter_context(_writer(place, stream))) for place, draw in drawings.items()]
        shown = stack.enter_context(bar(stream.frames or None, path.name, unit="frames", show=show))
        for prediction in predictions:
            frame, (time, duration) = prediction.picture.permute(1, 2, 0).numpy(), times.popleft()
            for draw, write in writers:
                write(draw(frame, prediction.labels), time, duration)
            shown.update()


def require_av() -> None:
    """Raise PictureError with the command that installs PyAV, if it is missing."""
    try:
        import av  # noqa: F401
    except ImportError:
        raise PictureError('A video needs PyAV. Install it: python -m pip install "ccnet-core[video]"') from None


@contextmanager
def _open(path: Path) -> Iterator["VideoStream"]:
    import av

    try:
        container = av.open(str(path))
    except av.FFmpegError as error:
        raise PictureError(
            f"{path}: not a video that can be read ({error.strerror}). Fetch or export it again."
        ) from None
    with container:
        if not container.streams.video:
            raise PictureError(f"{path}: this file holds no video.")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        yield stream


def _frames(path: Path, stream: "VideoStream", times: deque[tuple[int, int]]) -> Iterator[Array]:
    """Give the frames, upright, and add the time and duration of each, in the stream's unit, to `times`."""
    import av

    usual = round(1 / (stream.guessed_rate or 25) / _unit(stream))
    index = -1
    try:
        for index, frame in enumerate(cast("InputContainer", stream.container).decode(stream)):
            times.append((index * usual if frame.pts is None else frame.pts, frame.duration or usual))
            yield np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
    except av.FFmpegError as error:
        raise PictureError(f"{path}: damaged or unreadable ({error.strerror}). Fetch or export it again.") from error
    if index < 0:
        raise PictureError(f"{path}: this video holds no frame.")


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
