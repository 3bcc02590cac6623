"""From a file or array to the uint8 tensor that the model takes, and the normalisation inside the model."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor, nn

from ccnet_core.config import PixelStatistics
from ccnet_core.errors import PictureError

Picture = str | Path | Image.Image | NDArray[np.uint8] | Tensor
"""A path, a Pillow image, a uint8 array (H, W, 3) RGB or a uint8 tensor (3, H, W) RGB."""


def read_picture(path: str | Path) -> Image.Image:
    """Read a file as RGB, turned as its EXIF orientation says. Raises PictureError that names the file."""
    with refusing(path), warnings.catch_warnings():
        # Pillow warns before it refuses; both mean the same to the user.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as image:
                ImageOps.exif_transpose(image, in_place=True)
                return _to_rgb(image, str(path))
        except UnidentifiedImageError:
            raise PictureError(f"{path}: not a picture that Pillow can read. Convert it to PNG or JPEG.") from None
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise PictureError(
                f"{path}: more than {Image.MAX_IMAGE_PIXELS} pixels. Store it as TIFF or .npy and give it to "
                "`ccnet predict-large`, or cut it into smaller pictures."
            ) from None


@contextmanager
def refusing(path: str | Path) -> Iterator[None]:
    """Turn whatever goes wrong while the picture `path` is read into a PictureError that names it."""
    try:
        yield
    except (PictureError, MemoryError):
        raise
    except FileNotFoundError:
        raise PictureError(f"{path}: there is no such file.") from None
    except IsADirectoryError:
        raise PictureError(f"{path}: this is a folder. Give the name of a picture.") from None
    except PermissionError:
        raise PictureError(f"{path}: may not be read. Check its permissions.") from None
    except Exception as error:  # decoders answer damage with errors of every kind
        raise PictureError(f"{path}: damaged or unreadable ({error}). Fetch or export the file again.") from error


def _to_rgb(image: Image.Image, where: str) -> Image.Image:
    # Pillow clips 16 bit and float pixels to 255 instead of scaling them.
    if image.mode.startswith(("I", "F")):
        raise PictureError(f"{where}: has 16 bit or float pixels (mode {image.mode}). Save it with 8 bits a channel.")
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")


def to_tensor(picture: Picture) -> Tensor:
    """Return `picture` as a uint8 tensor (3, H, W), RGB, 0-255; a tensor is returned as it is, not copied.

    Raises PictureError for any other shape or type, and for a file that cannot be read.
    """
    if isinstance(picture, str | Path):
        picture = read_picture(picture)
    if isinstance(picture, Image.Image):
        picture = np.asarray(_to_rgb(picture, "the picture"))
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise PictureError(f"An array must be uint8 (H, W, 3) RGB, got {picture.dtype} {picture.shape}.")
        picture = torch.from_numpy(picture.transpose(2, 0, 1).copy())
    if not isinstance(picture, Tensor):
        raise PictureError(f"Expected a path, a Pillow image, an array or a tensor, got {type(picture).__name__}.")
    if picture.dtype != torch.uint8 or picture.ndim != 3 or picture.shape[0] != 3:
        raise PictureError(f"A tensor must be uint8 (3, H, W) RGB, got {picture.dtype} {tuple(picture.shape)}.")
    if 0 in picture.shape:
        raise PictureError(f"The picture is empty: {tuple(picture.shape)}.")
    return picture


def require_pictures(image: Tensor) -> None:
    """Raise PictureError unless `image` is a tensor (B, 3, H, W) with pixels."""
    if not isinstance(image, Tensor):
        raise PictureError(f"Expected pictures as a tensor (B, 3, H, W), got {type(image).__name__}.")
    if image.ndim != 4 or image.shape[1] != 3 or 0 in image.shape[2:]:
        raise PictureError(f"Expected pictures (B, 3, H, W), got {tuple(image.shape)}.")


class Normalise(nn.Module):
    """(x - mean) / std in float32, whatever the dtype of the model.

    `mean` and `std` are buffers that follow the model's device. They are not in its state dict, and they keep float32
    when the model is cast: half precision would move the mean by a hundredth of a grey level.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, pixels: PixelStatistics) -> None:
        super().__init__()
        self.pixels = pixels
        self.register_buffer("mean", _per_channel(pixels.mean), persistent=False)
        self.register_buffer("std", _per_channel(pixels.std), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) RGB, 0-255, any dtype -> float32, in the channel order of the statistics."""
        if self.pixels.channel_order == "bgr":
            image = image.flip(1)
        return (image.float() - self.mean) / self.std

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Normalise":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.mean = _per_channel(self.pixels.mean).to(self.mean.device)
        self.std = _per_channel(self.pixels.std).to(self.std.device)
        return self


def _per_channel(values: tuple[float, float, float]) -> Tensor:
    # On the CPU even under `with torch.device("meta")`, so that a meta model holds its statistics once materialised.
    return torch.tensor(values, dtype=torch.float32, device="cpu").view(1, 3, 1, 1)
