"""Every kernel becomes good machine code, on a machine without a GPU or a driver."""

import re

import pytest
from machine_code import CASES, MachineCode, ToolMissingError, machine_code_of, resident_blocks, table

from ccnet_kernels.cuda.catalogue import KERNELS

SHARED_OF_A_BLOCK = 99 * 1024  # bytes of any device from 8.0 on, with an attribute of the kernel
SHARED_WITHOUT_ASKING = 48 * 1024
every_kernel = pytest.mark.parametrize(
    ("name", "capability"), CASES, ids=[f"{name}-sm_{major}{minor}" for name, (major, minor) in CASES]
)


def code_of(name, capability) -> MachineCode:
    try:
        return machine_code_of(name, capability)
    except ToolMissingError as error:
        pytest.skip(str(error))


@every_kernel
def test_it_keeps_everything_in_registers(name, capability):
    code = code_of(name, capability)
    assert ".target sm_{}{}".format(*capability) in code.ptx
    assert (code.stack, code.spilled) == (0, 0)
    assert not re.search(r"\b(LDL|STL)\b", code.sass)


@every_kernel
def test_it_computes_in_no_atomics_and_in_no_float64(name, capability):
    code = code_of(name, capability)
    assert not re.search(r"\b(atom|red)\.", code.ptx)
    assert not re.search(r"\b(ATOM\w*|RED)\b", code.sass)
    assert not re.search(r"\b(DADD|DMUL|DFMA|DSETP|F2F\.F64\S*)\b", code.sass)


@every_kernel
def test_as_many_blocks_as_the_catalogue_says_fit_a_multiprocessor(name, capability):
    code, kernel = code_of(name, capability), KERNELS[name]
    shared = code.shared + kernel.shared
    assert resident_blocks(code.registers, shared, kernel.threads, capability) >= kernel.resident
    assert code.shared <= SHARED_WITHOUT_ASKING
    assert shared <= SHARED_OF_A_BLOCK


@every_kernel
def test_half_precision_is_multiplied_on_tensor_cores_and_nothing_else_is(name, capability):
    code = code_of(name, capability)
    multiplies = not name.endswith("float32") and not name.startswith("channel_dot")
    for instruction in ("HMMA.16816.F32", "LDSM", "LDGSTS"):  # products, ldmatrix, asynchronous copies
        assert (instruction in code.sass) == multiplies


@every_kernel
def test_what_is_copied_in_pieces_of_16_bytes_is_aligned_to_them(name, capability):
    code = code_of(name, capability)
    if "cp.async" in code.ptx:
        assert set(re.findall(r"\.shared \.align (\d+)", code.ptx)) == {"16"}


@pytest.mark.parametrize(
    ("registers", "shared", "threads", "blocks"),
    [
        (128, 0, 256, 2),
        (129, 0, 256, 1),
        (32, 0, 1024, 2),
        (32, 113 * 1024, 64, 2),
        (32, 114 * 1024, 64, 1),
        (8, 0, 32, 32),
    ],
)
def test_what_fits_a_multiprocessor(registers, shared, threads, blocks):
    assert resident_blocks(registers, shared, threads, (9, 0)) == blocks


def test_the_table_of_registers_and_shared_memory():
    """Shown by `pytest -s`; `machine_code.py` writes it as a file."""
    code_of(*CASES[0])
    rows = table()
    print()
    for row in [dict(zip(rows[0], rows[0], strict=True)), *rows]:
        print(" | ".join(f"{number!s:>{24 if name == 'kernel' else 12}}" for name, number in row.items()))
    assert len(rows) == len(CASES)
