"""The machine instructions that Numba has no function for: tensor cores, asynchronous copies, number formats.

Each function is one line of PTX, the assembly language of CUDA; its manual is NVIDIA's "Parallel Thread Execution ISA".
A *fragment* is the share of a small matrix that one thread of a warp holds. Half-precision numbers travel as their
bits, two in a uint32, the first in the lower half.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import float32, int64, types, uint16, uint32, uint64
from numba.cuda.extending import intrinsic

_LLVM = {float32: ir.FloatType(), uint16: ir.IntType(16), uint32: ir.IntType(32), uint64: ir.IntType(64)}
_LETTERS = {float32: "f", uint16: "h", uint32: "r", uint64: "l"}
_FOUR_FLOATS = types.UniTuple(float32, 4)
_FOUR_WORDS = types.UniTuple(uint32, 4)


def _one_line(text: str, signature: Any, *, touches_memory: bool = False) -> tuple[Any, Callable[..., Any]]:
    """Return what an intrinsic returns: its signature and the code that puts `text` in its place."""
    result = signature.return_type
    parts = list(result) if isinstance(result, types.UniTuple) else [] if result is types.void else [result]
    constraints = [f"={_LETTERS[part]}" for part in parts] + [_LETTERS[part] for part in signature.args]
    constraints += ["~{memory}"] * touches_memory
    plain = {0: ir.VoidType(), 1: _LLVM[parts[0]] if parts else None}
    returned = plain.get(len(parts)) or ir.LiteralStructType([_LLVM[part] for part in parts])
    function = ir.FunctionType(returned, [_LLVM[part] for part in signature.args])

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        # "Side effects" keep it on its side of a barrier; "convergent" keeps what a whole warp does together undivided.
        asm = ir.InlineAsm(function, text, ",".join(constraints), side_effect=touches_memory)
        found = builder.call(asm, values, attrs=("convergent",) if "aligned" in text else ())
        if len(parts) > 1:
            return context.make_tuple(builder, result, [builder.extract_value(found, i) for i in range(len(parts))])
        return found if parts else context.get_dummy_value()

    return signature, generate


def _multiply(kind: str) -> Any:
    @intrinsic
    def multiply(_context, a0, a1, a2, a3, b0, b1, c0, c1, c2, c3):
        """Return the fragment of A (16, 16) B (16, 8) + C (16, 8) [mma.sync.aligned.m16n8k16], sums in float32."""
        text = f"mma.sync.aligned.m16n8k16.row.col.f32.{kind}.{kind}.f32 "
        text += "{$0,$1,$2,$3}, {$4,$5,$6,$7}, {$8,$9}, {$10,$11,$12,$13};"
        return _one_line(text, _FOUR_FLOATS(*[uint32] * 6, *[float32] * 4))

    return multiply


def _pack(kind: str) -> Any:
    @intrinsic
    def pack(_context, low, high):
        """Return two float32 rounded to nearest even, as a pair [cvt.rn]."""
        return _one_line(f"cvt.rn.{kind}x2.f32 $0, $2, $1;", uint32(float32, float32))

    return pack


@intrinsic
def _low_bfloat16(_context, pair):
    return _one_line("shl.b32 $0, $1, 16;", float32(uint32))


@intrinsic
def _high_bfloat16(_context, pair):
    return _one_line("and.b32 $0, $1, 0xffff0000;", float32(uint32))


@intrinsic
def _low_float16(_context, pair):
    return _one_line("{ .reg .b16 low, high; mov.b32 {low, high}, $1; cvt.f32.f16 $0, low; }", float32(uint32))


@intrinsic
def _high_float16(_context, pair):
    return _one_line("{ .reg .b16 low, high; mov.b32 {low, high}, $1; cvt.f32.f16 $0, high; }", float32(uint32))


@dataclass(frozen=True)
class Number:
    """What differs between the two half-precision formats. `low` and `high` give the halves of a pair as float32."""

    name: str
    multiply: Any
    pack: Any
    low: Any
    high: Any


BFLOAT16 = Number("bfloat16", _multiply("bf16"), _pack("bf16"), _low_bfloat16, _high_bfloat16)
FLOAT16 = Number("float16", _multiply("f16"), _pack("f16"), _low_float16, _high_float16)


def _load_matrices(transposed: str) -> Any:
    @intrinsic
    def load(_context, address):
        """Return fragments of four 8 x 8 matrices; lane i gives the address of row i % 8 of matrix i / 8 [ldmatrix]."""
        text = f"ldmatrix.sync.aligned.m8n8.x4{transposed}.shared.b16 {{$0,$1,$2,$3}}, [$4];"
        return _one_line(text, _FOUR_WORDS(uint32), touches_memory=True)

    return load


load_matrices = _load_matrices("")
load_matrices_transposed = _load_matrices(".trans")


@intrinsic
def copy_async(_context, shared, source, count):
    """Copy 16 bytes to a shared address, of which those from `count` on are 0 and not read [cp.async.cg]."""
    text = "cp.async.cg.shared.global [$0], [$1], 16, $2;"
    return _one_line(text, types.void(uint32, uint64, uint32), touches_memory=True)


@intrinsic
def close_group(_context):
    """End the group of copies that this thread has begun [cp.async.commit_group]."""
    return _one_line("cp.async.commit_group;", types.void(), touches_memory=True)


@intrinsic
def wait_for_all_groups(_context):
    """Wait until this thread's copies have arrived [cp.async.wait_group 0]."""
    return _one_line("cp.async.wait_group 0;", types.void(), touches_memory=True)


@intrinsic
def wait_for_all_groups_but_one(_context):
    """Wait until this thread's copies have arrived, but those of its newest group [cp.async.wait_group 1]."""
    return _one_line("cp.async.wait_group 1;", types.void(), touches_memory=True)


@intrinsic
def wait_for_all_groups_but_two(_context):
    """Wait until this thread's copies have arrived, but those of its two newest groups [cp.async.wait_group 2]."""
    return _one_line("cp.async.wait_group 2;", types.void(), touches_memory=True)


@intrinsic
def load_pair(_context, address):
    """Return two numbers from a global address that 4 divides [ld.global]."""
    return _one_line("ld.global.b32 $0, [$1];", uint32(uint64), touches_memory=True)


@intrinsic
def store_pair(_context, address, pair):
    """Write two numbers to a global address that 4 divides [st.global]."""
    return _one_line("st.global.b32 [$0], $1;", types.void(uint64, uint32), touches_memory=True)


@intrinsic
def load_two_pairs(_context, address):
    """Return four numbers, as two pairs, from a global address that 8 divides [ld.global.v2]."""
    return _one_line("ld.global.v2.b32 {$0,$1}, [$2];", types.UniTuple(uint32, 2)(uint64), touches_memory=True)


@intrinsic
def store_two_pairs(_context, address, one, two):
    """Write four numbers, two pairs, to a global address that 8 divides [st.global.v2]."""
    return _one_line("st.global.v2.b32 [$0], {$1,$2};", types.void(uint64, uint32, uint32), touches_memory=True)


@intrinsic
def load_pair_shared(_context, address):
    """Return two numbers from a shared address that 4 divides [ld.shared]."""
    return _one_line("ld.shared.b32 $0, [$1];", uint32(uint32), touches_memory=True)


@intrinsic
def store_pair_shared(_context, address, pair):
    """Write two numbers to a shared address that 4 divides [st.shared]."""
    return _one_line("st.shared.b32 [$0], $1;", types.void(uint32, uint32), touches_memory=True)


@intrinsic
def exp2(_context, number):
    """Return 2^number, off by at most 2 units in the last place [ex2.approx.ftz]."""
    return _one_line("ex2.approx.ftz.f32 $0, $1;", float32(float32))


@intrinsic
def log2(_context, number):
    """Return the logarithm to base 2 [lg2.approx.ftz]."""
    return _one_line("lg2.approx.ftz.f32 $0, $1;", float32(float32))


@intrinsic
def maximum(_context, one, other):
    """Return the larger number, of a NaN and a number the number [max]."""
    return _one_line("max.f32 $0, $1, $2;", float32(float32, float32))


@intrinsic
def address_in_shared(_context, array, index):
    """Return the address of element `index` of a shared array of one axis."""
    signature = uint32(array, int64)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        element = builder.gep(data, [values[1]])
        shared = builder.addrspacecast(element, ir.PointerType(element.type.pointee, addrspace=3))
        return builder.ptrtoint(shared, ir.IntType(32))

    return signature, generate


@intrinsic
def address_in_global(_context, pointer, index):
    """Return the address of element `index` behind a pointer."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.ptrtoint(builder.gep(values[0], [values[1]]), ir.IntType(64))

    return uint64(pointer, int64), generate
