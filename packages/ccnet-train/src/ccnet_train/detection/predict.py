"""From a picture to its objects."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from ccnet_core.predict import evaluating
from ccnet_core.preprocess import Picture, to_tensor
from ccnet_train.detection.detections import Detections
from ccnet_train.detection.packed import PackedDetections

if TYPE_CHECKING:
    from ccnet_train.detection.network import MaskRCNN


def predict_instances(model: "MaskRCNN", image: Picture) -> Detections:
    """Find the objects of one picture; boxes and masks are in its own pixels.

    `image` is a path, a Pillow image, a uint8 array (H, W, 3) RGB or a uint8 tensor (3, H, W) RGB. Only a file is
    turned upright as its EXIF data says. The model's mode is left as it was. Raises PictureError for a picture that
    cannot be read.
    """
    return predict_batch(model, [to_tensor(image)])[0].unpack()


def predict_batch(model: "MaskRCNN", pictures: Sequence[Tensor]) -> list[PackedDetections]:
    """Find the objects of several uint8 `pictures` (3, H, W), of any sizes."""
    with evaluating(model):
        return model.find([picture.to(model.device) for picture in pictures])
