import numpy as np
from PIL import Image

import ccnet_core as ccnet
from ccnet_train.datasets import load_split
from ccnet_train.report import Progress, bar, write_preview


def test_the_bar_shows_loss_rate_speed_and_place(capsys):
    progress = Progress(start=3, total=5, images_per_step=4, show=True)
    progress.advance()
    progress.losses(0.12345, 0.001)
    progress.bar.refresh()
    progress.close()
    shown = capsys.readouterr().err
    assert "4/5" in shown
    assert "loss 0.1235, lr 1.00e-03" in shown
    assert "images/s" in shown


def test_a_quiet_run_prints_nothing(capsys):
    progress = Progress(start=0, total=5, images_per_step=4, show=False)
    progress.advance()
    progress.losses(1.0, 0.001)
    progress.say("a line")
    progress.close()
    assert list(bar(range(3), "evaluate", show=False)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_the_preview_has_a_row_of_three_per_picture(squares, tmp_path):
    dataset = load_split(squares().data, "val")
    model = ccnet.CCNet.from_config("ccnet_tiny", classes=dataset.classes, palette=dataset.palette)
    write_preview(tmp_path / "preview.png", model, dataset)
    preview = np.asarray(Image.open(tmp_path / "preview.png"))
    assert preview.shape == (4 * 32 + 3 * 4, 3 * 32 + 2 * 4, 3)
    # Every square has the colour of its class, so below the ignored rows picture and truth are the same.
    assert np.array_equal(preview[2:32, :32], preview[2:32, 36:68])
    assert (preview[:2, 36:68] == 0).all()
