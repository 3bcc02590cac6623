import torch

import ccnet_core as ccnet


def test_convert_writes_a_weights_folder_and_says_what_it_did(run, tiny, mmseg_state, tmp_path):
    torch.save({"state_dict": mmseg_state(tiny)}, tmp_path / "file.pth")
    done = run("convert", tmp_path / "file.pth", "--model", "ccnet_tiny", "--out", tmp_path / "out")
    said = f"{tmp_path}/file.pth -> {tmp_path}/out: 63 tensors (layout mmseg), "
    said += "4 classes (ccnet_tiny has 19; its inference plan stays)\n"
    assert (done.returncode, done.stdout) == (0, said)
    model = ccnet.CCNet.from_pretrained(tmp_path / "out")
    assert torch.equal(model.head.fuse.conv.weight, tiny.head.fuse.conv.weight)


def test_convert_replaces_a_folder_only_when_asked(run, tiny, weights, tmp_path):
    torch.save(tiny.backbone.state_dict(), tmp_path / "file.pth")
    before = (weights / "model.safetensors").read_bytes()
    command = ["convert", tmp_path / "file.pth", "--model", "ccnet_tiny", "--out", weights]
    done = run(*command)
    said = f"error: {weights}: this folder is not empty. Give a new one, or --overwrite.\n"
    assert (done.returncode, done.stderr) == (2, said)
    assert (weights / "model.safetensors").read_bytes() == before
    assert run(*command, "--overwrite").returncode == 0
    assert ccnet.CCNet.from_pretrained(weights).config.num_classes == 19


def test_convert_says_what_it_left_out(run, tiny, tmp_path):
    torch.save({**tiny.backbone.state_dict(), "fc.weight": torch.zeros(3, 64)}, tmp_path / "file.pth")
    done = run("convert", tmp_path / "file.pth", "--model", "ccnet_tiny", "--out", tmp_path / "out")
    assert "36 tensors (layout mmseg-backbone), 1 dropped (the ImageNet classifier), 19 classes" in done.stdout
