"""Pictures to the tensors that the model takes, and its logits to labels, as transformers' image processors do.

Shape letters: B batch, K classes, H and W size of the picture, h and w size of the feature map.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor

from ccnet_core.checks import is_whole, require
from ccnet_core.config import InferencePlan
from ccnet_core.errors import PictureError
from ccnet_core.fit import Fit
from ccnet_core.predict import predictions_of
from ccnet_core.preprocess import to_tensor
from ccnet_core.resize import fit_bytes, resize_bytes
from ccnet_core.score_map import Fitted, Logits, Resized, ScoreMap
from ccnet_core.transformers.modeling import IGNORE_INDEX


class CCNetImageProcessor(BaseImageProcessor):  # type: ignore[misc]
    """Pictures as bytes, at their own size unless `do_resize`; the model rescales and normalises by itself.

    `size` is {"height": ..., "width": ...}, and so is `fit`, the crop of a model that fits pictures into one: pictures
    are then fitted, maps too, 255 around them, and logits led back as in mode "fit" of `ccnet_core.predict`.
    `image_mean` and `image_std` (0-255) say what the model does. `align_corners` is the model's, for its logits. Raises
    ConfigError for `do_rescale` and `do_normalize`, which would be done twice, for a `size` or `fit` that is none, and
    for `do_resize` beside `fit`.
    """

    model_input_names = ("pixel_values",)

    def __init__(
        self,
        *,
        do_resize: bool = False,
        size: Mapping[str, int] | None = None,
        do_rescale: bool = False,
        do_normalize: bool = False,
        image_mean: Sequence[float] | None = None,
        image_std: Sequence[float] | None = None,
        align_corners: bool | None = None,
        fit: Mapping[str, int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        require(not (do_rescale or do_normalize), "do_rescale and do_normalize must be false: the model does both")
        self.do_resize, self.size, self.do_rescale, self.do_normalize = do_resize, size, False, False
        self.image_mean, self.image_std, self.align_corners, self.fit = image_mean, image_std, align_corners, fit
        if fit is not None:
            InferencePlan(mode="fit", crop=_size(fit, "fit"))  # which refuses what cannot be

    def preprocess(
        self,
        images: Any,
        segmentation_maps: Any = None,
        *,
        do_resize: bool | None = None,
        size: Mapping[str, int] | None = None,
        return_tensors: str | None = None,
        **options: Any,
    ) -> BatchFeature:
        """Return `pixel_values`, uint8 (3, H, W) each, and `labels`, int64 (H, W), of the maps if there are any.

        An image is what :func:`ccnet_core.predict` takes, or a web address; a map an integer array (H, W), a tensor or
        a Pillow image of class indices. With `return_tensors` they are one tensor, (B, 3, H, W) and (B, H, W). Resizing
        is bilinear as OpenCV's, of maps nearest. Raises PictureError for pictures of several sizes that shall be one
        tensor: padding would be looked at, so give them one by one, or `do_resize=True` and a `size`.
        """
        asked = [name for name, value in options.items() if value]
        require(not asked, f"{', '.join(asked)}: not done here. The model rescales and normalises by itself")
        resize = self.do_resize if do_resize is None else do_resize
        require(not (resize and self.fit), "do_resize: the model fits pictures into a crop. Leave do_resize out")
        target, crop = _size(size or self.size, "do_resize") if resize else None, self._crop()
        pictures = [_picture(image, target, crop) for image in map(self.fetch_images, _listed(images))]
        data: dict[str, list[NDArray[np.integer]]] = {"pixel_values": [*pictures]}
        if segmentation_maps is not None:
            data["labels"] = [_map(labels, target, crop) for labels in _listed(segmentation_maps)]
        sizes = sorted({values.shape[-2:] for values in (*pictures, *data.get("labels", ()))})
        if return_tensors is not None and len(sizes) > 1:
            raise PictureError(
                f"Pictures and maps of {len(sizes)} sizes, such as {sizes[0]} and {sizes[1]}, are not one tensor. "
                'Give them one by one, or do_resize=True and size={"height": ..., "width": ...}.'
            )
        return BatchFeature(data, tensor_type=return_tensors)

    def post_process_semantic_segmentation(
        self, outputs: Any, target_sizes: Sequence[tuple[int, int]] | Tensor | None = None
    ) -> list[Tensor]:
        """Return the class of each pixel, int64 (H, W), for each picture of the batch, as `ccnet_core.predict` has it.

        `outputs.logits` are (B, K, h, w); `target_sizes` (height, width) of each picture, without which labels have the
        size of the logits. Raises ConfigError if there is another number of sizes.
        """
        logits: Tensor = outputs.logits
        if target_sizes is None:
            return list(logits.argmax(1))
        require(len(target_sizes) == len(logits), f"{len(logits)} pictures but {len(target_sizes)} target_sizes")
        return [self._labels(one[None], size) for one, size in zip(logits, target_sizes, strict=True)]

    def _labels(self, logits: Tensor, size: Sequence[int] | Tensor) -> Tensor:
        require(
            self.align_corners is not None,
            "align_corners is not known. Load the processor with its weights folder, saved by this ccnet-core, or "
            "give align_corners of the model's configuration",
        )
        height, width = map(int, size)
        crop = self._crop()
        with torch.inference_mode():
            view: ScoreMap = Resized(Logits(logits), crop or (height, width), bool(self.align_corners))
            view = view if crop is None else Fitted(view, (height, width))
            return torch.from_numpy(predictions_of([view])[0].labels).long()

    def _crop(self) -> tuple[int, int] | None:
        return None if self.fit is None else _size(self.fit, "fit")


def _listed(images: Any) -> Sequence[Any]:
    """Return one image as a list of it; an array or tensor of four axes is a batch already."""
    if isinstance(images, list | tuple):
        return images
    is_batch = isinstance(images, np.ndarray | Tensor) and images.ndim == 4
    return list(images) if is_batch else [images]


def _size(size: Mapping[str, int] | None, option: str) -> tuple[int, int]:
    edges = (size or {}).get("height"), (size or {}).get("width")
    sensible = all(is_whole(edge) and edge > 0 for edge in edges if edge is not None) and None not in edges
    name = "do_resize needs size" if option == "do_resize" else "the processor needs fit"
    require(sensible, f'{name}={{"height": ..., "width": ...}}, got {size!r}')
    return int(edges[0] or 0), int(edges[1] or 0)


def _picture(image: Any, target: tuple[int, int] | None, crop: tuple[int, int] | None) -> NDArray[np.uint8]:
    picture = to_tensor(image)
    if crop is not None:
        return fit_bytes(picture[None], crop)[0].numpy()
    return (picture if target is None else resize_bytes(picture[None], target)[0]).numpy()


def _map(labels: Any, target: tuple[int, int] | None, crop: tuple[int, int] | None) -> NDArray[np.int64]:
    indices = np.asarray(labels)
    if indices.ndim != 2 or indices.dtype.kind not in "iu":
        raise PictureError(f"A map of labels must be integers (H, W), got {indices.dtype} {indices.shape}.")
    if target is not None and indices.shape != target:
        smaller = Image.fromarray(indices.astype(np.int32)).resize((target[1], target[0]), Image.Resampling.NEAREST)
        indices = np.asarray(smaller)
    indices = indices.astype(np.int64)
    return indices if crop is None else _fitted_map(indices, crop)


def _fitted_map(indices: NDArray[np.int64], crop: tuple[int, int]) -> NDArray[np.int64]:
    """Return the nearest label to each pixel of the crop, `IGNORE_INDEX` around the map."""
    fit = Fit((indices.shape[0], indices.shape[1]), crop)
    bordered = np.pad(indices, 1, constant_values=IGNORE_INDEX)
    nearest = ((fit.in_picture(axis) + 0.5).floor().long().numpy() + 1 for axis in (0, 1))
    rows, columns = (place.clip(0, extent - 1) for place, extent in zip(nearest, bordered.shape, strict=True))
    fitted: NDArray[np.int64] = bordered[np.ix_(rows, columns)]
    return fitted
