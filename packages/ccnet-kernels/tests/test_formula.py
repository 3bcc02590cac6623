import itertools

import pytest
import torch
from bench_cases import tiny

from ccnet_kernels import formula
from ccnet_kernels.bench.case import forward_backward, random_arguments
from ccnet_kernels.formula import plain_attention, plain_non_local


def by_positions(sees):
    """Attention one position at a time, over the positions that `sees(here, there)`."""

    def attend(query, key, value, *, scale, residual):
        positions = list(itertools.product(*map(range, query.shape[2:])))
        attended = torch.empty_like(value)
        for here in positions:
            seen = [there for there in positions if sees(here, there)]
            at = (..., *here)
            energies = torch.stack([(query[at] * key[(..., *there)]).sum(1) for there in seen], 1)
            values = torch.stack([value[(..., *there)] for there in seen], 1)
            attended[at] = (energies.softmax(1)[..., None] * values).sum(1)
        return scale * attended + residual

    return attend


def on_a_cross(here, there):
    return sum(a != b for a, b in zip(here, there, strict=True)) <= 1


def everywhere(here, there):
    return True


@pytest.mark.parametrize("extent", [(5, 7), (1, 4), (4, 1), (3, 2, 4)])
@pytest.mark.parametrize(("plain", "sees"), [(plain_attention, on_a_cross), (plain_non_local, everywhere)])
def test_output_and_every_gradient_are_those_of_one_position_at_a_time(plain, sees, extent, monkeypatch):
    monkeypatch.setattr(formula, "QUERIES", 6)  # several pieces, the last one shorter
    arguments = random_arguments(tiny(shape=(2, 3, 4, *extent)))
    exact = {name: tensor.detach().double().requires_grad_() for name, tensor in arguments.items()}
    expected = forward_backward(by_positions(sees), exact)
    for name, actual in forward_backward(plain, exact).items():
        torch.testing.assert_close(actual, expected[name], msg=lambda text, name=name: f"{name}: {text}")
