"""Three training steps of mmsegmentation and of ours, in float64, where no difference hides in the rounding.

Both normalise pixels in float32.
"""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from mmseg_peer import label_map, make_pair, our_name, picture

import ccnet_core as ccnet

SIZE = (57, 73)


NAMES = ["ccnet_r50-d8_4xb2-40k_cityscapes-512x1024", "ccnet_r50-d8_4xb2-40k_cityscapes-769x769"]


@pytest.mark.parametrize("name", NAMES)
def test_three_steps(name):
    without_dropout = {"model.decode_head.dropout_ratio": 0.0, "model.auxiliary_head.dropout_ratio": 0.0}
    pair = make_pair(name, {"model.data_preprocessor.size": SIZE, **without_dropout})
    theirs, ours = pair.theirs.double().train(), pair.ours.double().train()
    theirs.data_preprocessor.float()
    for head in (ours.head, ours.auxiliary_head):
        head.classify.dropout.p = 0.0
    settings = theirs.cfg.optim_wrapper
    wrapper = build_optim_wrapper(theirs, settings)
    options = {key: value for key, value in settings.optimizer.items() if key != "type"}
    optimiser = torch.optim.SGD(ours.parameters(), **options)
    for step in range(3):
        seeds = (2 * step, 2 * step + 1)
        images = torch.stack([torch.from_numpy(picture(*SIZE, seed)).permute(2, 0, 1) for seed in seeds])
        labels = torch.stack([label_map(*SIZE, ours.config.num_classes, seed) for seed in seeds])
        expected = their_step(theirs, wrapper, images, labels)
        losses = our_step(ours, optimiser, images.flip(1), labels)
        for key, loss in zip(("decode.loss_ce", "aux.loss_ce"), losses, strict=True):
            assert loss.item() == pytest.approx(expected[key].item(), rel=1e-8), (step, key)
        assert_same_gradients(theirs, ours)
        assert_same_state(theirs, ours)


def their_step(model, wrapper, images, labels):
    """Do what their `train_step` does, but keep the gradients; return the losses by name."""
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]
    batch = model.data_preprocessor({"inputs": list(images), "data_samples": samples}, training=True)
    batch["inputs"] = batch["inputs"].double()
    total, losses = model.parse_losses(model(**batch, mode="loss"))
    wrapper.zero_grad()
    wrapper.backward(total)
    wrapper.step()
    return losses


def our_step(model, optimiser, images, labels):
    """Take one step; return the losses of both heads, the second with its weight of 0.4."""
    loss = ccnet.CrossEntropy(average="all")
    output = model(images)
    main, auxiliary = (loss(model.resize_logits(logits, labels.shape[1:]), labels) for logits in output[:2])
    optimiser.zero_grad()
    (main + 0.4 * auxiliary).backward()
    optimiser.step()
    return main, 0.4 * auxiliary


def assert_same_gradients(theirs, ours):
    gradients = {key: parameter.grad for key, parameter in ours.named_parameters()}
    for key, parameter in theirs.named_parameters():
        # A constant in every key changes no softmax: the exact gradient of its bias is 0.
        atol = 1e-12 if "key_conv.bias" in key else 0.0
        assert_near(gradients[our_name(key)].view_as(parameter), parameter.grad, key, rtol=1e-5, atol=atol)


def assert_same_state(theirs, ours):
    state = ours.state_dict()
    for key, tensor in theirs.state_dict().items():
        assert_near(state[our_name(key)].view_as(tensor), tensor, key, rtol=1e-6)


def assert_near(actual, expected, name, *, rtol, atol=0.0):
    """Fail where the distance is more than `rtol` of the largest entry."""
    allowed = rtol * expected.abs().max().item() + atol
    torch.testing.assert_close(actual, expected, rtol=0, atol=allowed, msg=lambda text: f"{name}: {text}")
