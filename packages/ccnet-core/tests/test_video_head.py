from dataclasses import replace

import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.config import AuxiliaryHeadConfig, HeadConfig
from ccnet_core.testing import criss_cross_definition
from ccnet_core.video_head import VideoHead

HEAD = HeadConfig(channels=8, reduction=4, recurrence=3, gamma=0.5, consistency_channels=2, frames=4)


def head(**changes):
    return VideoHead(6, 5, replace(HEAD, **changes)).double().eval()


def by_definition(head, x, frame):
    """The logits of one frame, each layer on one frame at a time, and attention one position at a time."""
    frames = torch.stack([head.reduce(x[:, t]) for t in range(x.shape[1])], 2)
    cca = head.attention.cca
    for _ in range(head.attention.recurrence):
        attended = criss_cross_definition(cca.query_conv(frames), cca.key_conv(frames), cca.value_conv(frames))
        frames = cca.gamma * attended + frames
    refined = head.refine(frames[:, :, frame])
    return head.classify.conv(head.fuse(torch.cat([x[:, frame], refined], 1)))


@pytest.mark.parametrize("length", [1, 2, 4])
@pytest.mark.parametrize("frame", [0, -1])
def test_head_follows_the_definition_for_clips_of_any_length(length, frame):
    model, x = head(), torch.randn(2, length, 6, 3, 4, dtype=torch.float64)
    logits, features = model(x, frame=frame)
    torch.testing.assert_close(logits, by_definition(model, x, frame))
    assert features is None


def test_consistency_features_are_those_of_the_labelled_frame():
    model, x = head(), torch.randn(2, 3, 6, 3, 4, dtype=torch.float64)
    attended = model.attention(torch.stack([model.reduce(x[:, t]) for t in range(3)], 2))
    torch.testing.assert_close(model(x, frame=1, consistency=True)[1], model.consistency(attended[:, :, 1]))


def test_names_are_those_of_the_head_for_pictures():
    pictures = ccnet.CCNet.from_config("ccnet_tiny").head.state_dict()
    clips = ccnet.CCNet.from_config("ccnet_tiny", frames=5).head.state_dict()
    assert list(clips) == list(pictures)
    assert [value.numel() for value in clips.values()] == [value.numel() for value in pictures.values()]


@pytest.mark.parametrize(("recurrence", "reached"), [(0, "itself"), (1, "cross"), (2, "planes"), (3, "everything")])
def test_three_steps_join_every_position_of_every_frame(recurrence, reached):
    model = head(kernel_size=1, recurrence=recurrence)
    x = torch.randn(1, 4, 6, 3, 5, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(x)[0][0, :, 1, 2].sum(), x)
    seen = gradient[0].abs().sum(1) > 0
    here = torch.tensor([3, 1, 2])
    places = torch.stack(torch.meshgrid(*map(torch.arange, (4, 3, 5)), indexing="ij"), -1)
    assert torch.equal(seen, (places != here).sum(-1) <= recurrence), reached


@pytest.mark.parametrize("attention", ["criss_cross", "non_local"])
def test_logits_of_a_network_are_those_of_its_parts(attention):
    model = network(attention)
    clips = torch.randint(0, 256, (2, 3, 3, 33, 41), dtype=torch.uint8)
    stages = [model.backbone(model.normalise(clips[:, t]).double()) for t in range(3)]
    out = model(clips, frame=1)
    torch.testing.assert_close(out.logits, model.head(torch.stack([stage[-1] for stage in stages], 1), frame=1)[0])
    torch.testing.assert_close(out.auxiliary_logits, model.auxiliary_head(stages[1][0]))
    assert model(clips, auxiliary=False).auxiliary_logits is None


def network(attention="criss_cross"):
    config = ccnet.CCNet.from_config("ccnet_tiny", frames=3, attention=attention).config
    config = replace(config, auxiliary=AuxiliaryHeadConfig(stage=0, channels=4))
    return ccnet.CCNet(config).double().eval()


def test_a_picture_is_a_clip_of_one_frame():
    model, picture = network(), torch.randint(0, 256, (2, 3, 33, 41), dtype=torch.uint8)
    assert torch.equal(model(picture).logits, model(picture[:, None]).logits)


def test_batch_norm_of_the_backbone_counts_every_frame():
    model = network().train()
    clips = torch.randint(0, 256, (2, 3, 3, 32, 32), dtype=torch.uint8)
    expected = network()
    expected.load_state_dict(model.state_dict())
    expected.train().backbone(expected.normalise(clips.flatten(0, 1)).double())
    model(clips)
    assert torch.equal(model.backbone.stem[1].running_var, expected.backbone.stem[1].running_var)


def test_gradients_reach_earlier_frames_and_checkpointing_keeps_them():
    clips = torch.rand(1, 3, 3, 32, 32, dtype=torch.float64) * 255
    found = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = network().train()
        model.checkpoint_activations(checkpointing)
        x = clips.clone().requires_grad_()
        model(x).logits.square().sum().backward()
        found.append(x.grad)
    assert torch.equal(*found)
    assert (found[0].abs().sum((0, 2, 3, 4)) > 0).all()


def test_network_compiles_for_clips_of_several_lengths():
    model = network()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for length in (3, 2):
        clips = torch.randint(0, 256, (1, length, 3, 32, 32), dtype=torch.uint8)
        torch.testing.assert_close(compiled(clips).logits, model(clips).logits)


def test_weights_folder_brings_the_model_back(tmp_path):
    model = network()
    model.save_pretrained(tmp_path / "weights", picture=torch.zeros(3, 3, 32, 32, dtype=torch.uint8))
    again = ccnet.CCNet.from_pretrained(tmp_path / "weights", dtype=torch.float64)
    clips = torch.randint(0, 256, (1, 3, 3, 32, 32), dtype=torch.uint8)
    assert (again.config.task, again.config.head.frames) == ("video", 3)
    assert torch.equal(again(clips).logits, model(clips).logits)
    assert "the 2 before it" in (tmp_path / "weights" / "README.md").read_text()


def test_what_is_for_pictures_refuses_a_model_of_clips():
    from ccnet_core.export.graph import Deployed

    model, picture = network(), torch.zeros(3, 32, 32, dtype=torch.uint8)
    for call in (
        lambda: model.optimized(),
        lambda: Deployed(model, "labels"),
        lambda: ccnet.attention_map(model, picture, point=(0, 0)),
    ):
        with pytest.raises(ccnet.ConfigError, match="model of clips"):
            call()
