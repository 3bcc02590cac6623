import random

import numpy as np
import torch

from ccnet_train.randomness import Purpose, forked_random_state, generator, seed_torch


def test_a_stream_is_a_function_of_purpose_seed_and_place():
    draws = {
        (purpose, seed, where): generator(purpose, seed, where).random()
        for purpose in (Purpose.ORDER, Purpose.AUGMENT)
        for seed in (0, 1)
        for where in (0, 1, 2)
    }
    assert len(set(draws.values())) == len(draws)
    assert generator(Purpose.AUGMENT, 1, 2).random() == draws[Purpose.AUGMENT, 1, 2]


def test_torch_draws_differ_by_step_and_rank_and_repeat():
    def draw(step, rank):
        seed_torch(Purpose.STEP, 3, step, rank)
        return float(torch.rand(()))

    assert len({draw(0, 0), draw(1, 0), draw(0, 1)}) == 3
    assert draw(1, 0) == draw(1, 0)


def test_the_callers_random_state_survives():
    def draw():
        return float(torch.rand(())), random.random(), np.random.random()

    def seed():
        torch.manual_seed(7), random.seed(7), np.random.seed(7)

    seed()
    expected = draw()
    seed()
    with forked_random_state(torch.device("cpu")):
        seed_torch(Purpose.STEP, 3)
        draw()
    assert draw() == expected
