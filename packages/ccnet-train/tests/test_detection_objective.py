import torch

from ccnet_train.detection.objective import PARTS, DetectionObjective

LOSSES = dict(zip(PARTS, torch.arange(1.0, 6.0), strict=True))


def test_the_parts_come_in_the_order_of_their_names_and_weigh_as_their_share():
    truth = [{"boxes": torch.zeros(0, 4)}, {"boxes": torch.zeros(3, 4)}]

    def forward(images, targets):
        assert (images, targets) == (["one", "two"], truth)
        return dict(reversed(LOSSES.items()))

    found = DetectionObjective().losses(None, forward, ["one", "two"], truth, torch.ones(1), 0.25)
    assert dict(zip(DetectionObjective.parts, found.tolist(), strict=True)) == {
        name: 0.25 * float(value) for name, value in LOSSES.items()
    }


def test_a_step_counts_pictures():
    assert DetectionObjective().divisors([{"boxes": torch.zeros(0, 4)}, {"boxes": torch.zeros(3, 4)}]).tolist() == [2]
