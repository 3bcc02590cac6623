"""Clips: frames of a video that follow one another, of which the last one is labelled.

Shape letters: B batch, T frames, H and W size of the pictures.
"""

import torch
from torch import Tensor

from ccnet_core.errors import PictureError
from ccnet_core.preprocess import Picture, require_pictures, to_tensor


def to_frames(picture: Picture) -> Tensor:
    """Return a clip, a uint8 tensor (T, 3, H, W), as it is, and of a picture what :func:`to_tensor` does.

    Raises PictureError for anything else, and for a clip without frames or pixels.
    """
    if not isinstance(picture, Tensor) or picture.ndim != 4:
        return to_tensor(picture)
    if picture.dtype != torch.uint8 or picture.shape[1] != 3 or 0 in picture.shape:
        raise PictureError(f"A clip must be uint8 (T, 3, H, W) RGB, got {picture.dtype} {tuple(picture.shape)}.")
    return picture


def last_frame(frames: Tensor) -> Tensor:
    """Return the picture (3, H, W) that is labelled, of what :func:`to_frames` gives."""
    return frames if frames.ndim == 3 else frames[-1]


def recent(images: Tensor, frames: int) -> Tensor:
    """Return what a model of `frames` frames takes of clips (B, T, 3, H, W): the last ones, or with 1 pictures.

    Pictures (B, 3, H, W) are given back as they are.
    """
    if images.ndim != 5:
        return images
    return images[:, -1] if frames == 1 else images[:, -frames:]


def require_clips(images: Tensor, longest: int, frame: int) -> Tensor:
    """Return `images` as clips (B, T, 3, H, W); pictures (B, 3, H, W) are clips of one frame.

    Raises PictureError for another shape, for more frames than `longest`, and if there is no frame `frame`.
    """
    if not isinstance(images, Tensor) or images.ndim != 5:
        require_pictures(images)
        images = images[:, None]
    count = images.shape[1]
    if images.shape[2] != 3 or not 1 <= count <= longest or 0 in images.shape[3:]:
        expected = f"clips (B, T, 3, H, W) of 1 to {longest} frames"
        raise PictureError(f"Expected {expected}, got {tuple(images.shape)}.")
    if not -count <= frame < count:
        raise PictureError(f"A clip of {count} frames has no frame {frame}.")
    return images
