import pytest
import torch

from ccnet_core.errors import ExportError
from ccnet_core.export.agreement import TOLERANCE, Agreement, picture, require_agreement
from ccnet_core.export.graph import Deployed

SHAPES = ((2, 24, 32), (1, 17, 33))


@pytest.fixture
def deployed(tiny):
    return Deployed(tiny, "labels")


def largest(deployed):
    return max(float(deployed(picture(*shape))[1].abs().max()) for shape in SHAPES)


def test_network_agrees_with_itself(deployed):
    agreement = require_agreement(deployed, deployed, SHAPES)
    expected = Agreement(shapes=SHAPES, largest_difference=0.0, largest_logit=largest(deployed), equal_labels=1.0)
    assert agreement == expected
    assert str(agreement).endswith("100.0000% of labels are equal (batch x height x width: 2x24x32, 1x17x33)")


def test_rounding_is_allowed_and_reported(deployed):
    step = TOLERANCE * largest(deployed) / 4

    def run(image):
        labels, logits = deployed(image)
        return labels, logits + step

    assert require_agreement(deployed, run, SHAPES).largest_difference == pytest.approx(step, rel=0.1)


def test_logits_alone_are_compared_too(tiny):
    deployed = Deployed(tiny, "logits")
    assert require_agreement(deployed, lambda image: [deployed(image)], SHAPES).equal_labels == 1
    with pytest.raises(ExportError, match="logits differ"):
        require_agreement(deployed, lambda image: [1.01 * deployed(image)], SHAPES)


def one_nan(labels, logits):
    logits[0, 0, 0, 0] = float("nan")
    return labels, logits


def one_label(labels, logits):
    labels[0, 5, 6] = (labels[0, 5, 6] + 1) % 4
    return labels, logits


WRONG = {
    "scaled logits": (lambda labels, logits: (labels, 1.001 * logits), "logits differ by .* for pictures 2x3x24x32"),
    "not a number": (one_nan, "logits differ by nan"),
    "mirrored logits": (lambda labels, logits: (labels, logits.flip(3)), "logits differ"),
    "a wrong label": (one_label, "labels have lower scores"),
    "labels of another type": (lambda labels, logits: (labels.long(), logits), "labels torch.int64"),
    "upsampled logits": (lambda labels, logits: (labels, logits.repeat(1, 1, 2, 2)), r"logits torch.float32 \(2, 4,"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_are_refused(deployed, name):
    spoil, reason = WRONG[name]
    with pytest.raises(ExportError, match=reason):
        require_agreement(deployed, lambda image: spoil(*(output.clone() for output in deployed(image))), SHAPES)


def test_pictures_differ_from_pixel_to_pixel_and_are_the_same_each_time():
    image = picture(2, 17, 33)
    assert (image.shape, image.dtype) == ((2, 3, 17, 33), torch.uint8)
    assert image.float().std() > 20
    assert torch.equal(image, picture(2, 17, 33))
