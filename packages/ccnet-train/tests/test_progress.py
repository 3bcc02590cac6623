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


def test_the_time_waited_for_data_is_told_as_a_share_of_all(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("ccnet_train.progress.time.perf_counter", lambda: clock[0])

    def slow():
        for batch in range(3):
            clock[0] += 2.0
            yield batch

    progress = Progress(start=0, total=5, images_per_step=4, show=True)
    seen = []
    for batch in progress.waiting(slow()):
        clock[0] += 6.0
        seen.append(batch)
    assert seen == [0, 1, 2]
    assert progress.data_share == 0.25
    progress.losses(1.0, 0.001)
    progress.bar.refresh()
    assert "data 25%" in capsys.readouterr().err
    progress.restart_clock()
    clock[0] += 1.0
    assert progress.data_share == 0.0
    progress.close()


def test_a_quiet_run_prints_nothing(capsys):
    progress = Progress(start=0, total=5, images_per_step=4, show=False)
    progress.advance()
    progress.losses(1.0, 0.001)
    progress.say("a line")
    progress.close()
    assert list(bar(range(3), "evaluate", show=False)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
