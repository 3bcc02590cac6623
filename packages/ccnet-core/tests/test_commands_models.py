def test_models_lists_published_figures(run):
    done = run("models")
    (line,) = [line for line in done.stdout.splitlines() if "80k_cityscapes-769x769" in line and "r50" in line]
    assert "769x769" in line
    assert "79.29" in line
    assert "81.08" in line
