from ccnet_train.progress import Progress, bar


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
