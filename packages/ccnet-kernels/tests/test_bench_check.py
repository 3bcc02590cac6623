import pytest
import torch
from bench_cases import tiny, wrong_by

from ccnet_kernels.bench.case import random_arguments
from ccnet_kernels.bench.check import expected_of, faults, stop_if_ours_is_wrong
from ccnet_kernels.bench.contenders import Contender
from ccnet_kernels.formula import plain_attention


def contender(attend, reason=None):
    return Contender(name="numba", attend=attend, why_not=lambda case: reason)


def found(attend, case):
    return faults(contender(attend), case, expected_of(plain_attention, random_arguments(case)))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("level", ["operator", "block"])
def test_the_right_thing_passes_in_every_dtype(dtype, level):
    assert found(plain_attention, tiny(dtype=dtype, level=level)) == {}


@pytest.mark.parametrize(("dtype", "factor"), [("float32", 1.001), ("float16", 1.05), ("bfloat16", 1.2)])
def test_a_wrong_output_is_a_fault_of_both_steps(dtype, factor):
    wrong = found(wrong_by(factor, plain_attention), tiny(dtype=dtype))
    assert wrong.keys() == {"forward", "forward_backward"}
    assert "output is off by" in wrong["forward"]


def test_nan_is_a_fault():
    assert "output is off by nan" in found(wrong_by(float("nan"), plain_attention), tiny())["forward"]


@pytest.mark.parametrize("name", ["query", "key", "value", "scale", "residual"])
def test_a_wrong_gradient_is_named_and_leaves_forward_alone(name):
    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return 2 * gradient

    def wrong(query, key, value, **options):
        given = {"query": query, "key": key, "value": value, **options}
        return plain_attention(**given | {name: Doubled.apply(given[name])})

    assert found(wrong, tiny()).keys() == {"forward_backward"}
    assert f"gradient of {name} is off by" in found(wrong, tiny())["forward_backward"]


def test_what_is_raised_is_a_fault_in_its_first_line():
    def broken(*arguments, **options):
        raise RuntimeError("no kernel\nfor this device")

    assert found(broken, tiny())["forward"] == "RuntimeError: no kernel"


def test_a_backend_of_ours_that_is_wrong_ends_the_program_with_the_case_and_the_tensor():
    with pytest.raises(SystemExit, match=r"numba, operator 2x4x8x5x7 float32 contiguous: output is off by .* No times"):
        stop_if_ours_is_wrong(contender(wrong_by(1.01, plain_attention)), [tiny()])


def test_a_backend_of_ours_is_not_asked_what_it_does_not_serve():
    stop_if_ours_is_wrong(contender(wrong_by(1.01, plain_attention), "needs a CUDA device"), [tiny()])
