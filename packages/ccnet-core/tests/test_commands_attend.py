def test_attend_draws_both_steps(run, weights, photo, pixels, tmp_path):
    done = run("attend", photo, "--model", weights, "--point", "10,20", "--out", tmp_path / "a.png")
    assert (done.returncode, done.stderr) == (0, "")
    height, width, _ = pixels(tmp_path / "a.png").shape
    assert width > 3 * height
