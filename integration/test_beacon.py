"""The generated pictures on which attention is the only way to be right."""

import pytest

from ccnet_train import fit, load_recipe


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_steps_are_learnt_on_nine_of_ten_seeds(tmp_path):
    recipes = [load_recipe("beacon", [f"seed={seed}", f"output={tmp_path}/{seed}"]) for seed in range(10)]
    scores = [fit(recipe, quiet=True).best_miou for recipe in recipes]
    assert sum(score >= 0.9 for score in scores) >= 9, scores
