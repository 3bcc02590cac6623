"""The generated clips in which only time tells the class: five frames solve what the last one alone cannot."""

import pytest

from ccnet_train import fit, load_recipe


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_five_frames_are_learnt_on_nine_of_ten_seeds(tmp_path):
    scores = [score(tmp_path / str(seed), f"seed={seed}") for seed in range(10)]
    assert sum(miou >= 0.9 for miou in scores) >= 9, scores


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_last_frame_alone_stays_at_chance(tmp_path):
    # Background all right and a square of two colours guessed: 0.5 for one colour always, 0.56 for each at random.
    scores = [score(tmp_path / str(seed), f"seed={seed}", "model.frames=1") for seed in range(2)]
    assert max(scores) < 0.6, scores


def score(output, *overrides):
    return fit(load_recipe("beacon-video", [f"output={output}", *overrides]), quiet=True).best_miou
