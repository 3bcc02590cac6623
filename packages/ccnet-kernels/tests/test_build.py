import struct

import pytest
from numba import int32, types, void

from ccnet_kernels import KernelError
from ccnet_kernels.cuda import build, catalogue

pytest.importorskip("cuda.core", reason="needs the extra cu12 or cu13")
SMALL = "channel_dot_float32"


def test_the_entry_of_the_machine_code_has_the_kernels_name():
    code = build.build(SMALL, (9, 0)).code
    assert code.startswith(b"\x7fELF")
    assert f".text.{SMALL}\0".encode() in code


def test_parameters_and_threads_are_those_of_the_catalogue():
    made = build.build(SMALL, (8, 0))
    assert (made.parameters, made.threads) == ("PPPiii", catalogue.KERNELS[SMALL].threads)
    assert struct.calcsize(made.parameters) == 3 * 8 + 3 * 4


@pytest.mark.parametrize("name", catalogue.KERNELS)
def test_pointers_come_first_and_every_parameter_has_a_letter(name):
    letters = "".join(build._letter_of(parameter) for parameter in catalogue.KERNELS[name].signature.args)
    assert set(letters) == {"P", "i"}
    assert "iP" not in letters


def test_a_kernel_that_does_not_compile_is_told_with_the_remedy(monkeypatch):
    def faulty(pointer):
        pointer.no_such_attribute()

    kernel = catalogue.KERNELS[SMALL]
    fields = {"threads": 32, "resident": 1, "capability": (7, 5)}
    other = type(kernel)(function=faulty, signature=void(types.CPointer(int32)), **fields)
    monkeypatch.setitem(catalogue.KERNELS, "faulty", other)
    with pytest.raises(KernelError, match=r"(?s)^faulty cannot be compiled for sm_90: .* extras cu13 and cu12"):
        build.build("faulty", (9, 0))
