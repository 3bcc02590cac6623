"""A reader of pickles in which nothing can run: it imports nothing and calls nothing that a file names.

A pickle is a program for a small stack machine. Here numbers, text and containers become themselves, and whatever the
program would look up or call becomes an :class:`Inert` record of the name and the arguments. Nothing that a file can
nest without end is hashed, compared or printed. Source of the instructions: the standard library's pickletools.
"""

import io
import mmap
import pickletools
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import IO, Any, cast

from ccnet_core.errors import WeightsError

LONGEST_NAME = 1000
"""Characters of the name of a class or function."""

LONGEST_PROGRAM = 1_000_000
"""Instructions. ResNet-101 has 23,000, and with the state of its training some 100,000."""

VALUES = {
    *("INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
"""Instructions whose argument is the value."""

CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
EMPTY: dict[str, type] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": list}
FIXED_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}

DAMAGE = (ValueError, TypeError, LookupError, AttributeError)
"""What pickletools, and values that do not fit the instruction, raise for bytes that are no pickle."""


@dataclass(eq=False, slots=True)
class Inert:
    """What a pickle names, or would call with `arguments`; these are None for the name itself.

    `name` is "module.attribute", `items` what was set as in a dict. Compared and hashed by identity.
    """

    name: str
    arguments: tuple[Any, ...] | None = None
    items: dict[Any, Any] = field(default_factory=dict)


def read_pickle(file: io.BytesIO | mmap.mmap) -> tuple[Any, list[tuple[Any, ...]]]:
    """Return the object of the next pickle in `file`, and its persistent identifiers: in torch's files the storages.

    Text, numbers, None, lists, tuples and dicts are themselves, a set is a list. A key of a dict that is not text is
    replaced by an :class:`Inert`. Takes memory and time in proportion to the pickle. Raises WeightsError, whose message
    goes behind the file's name, for bytes that are no pickle, are cut short, or are more than any checkpoint needs.
    """
    machine = _Machine()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a wrong escape in text that Python 2 wrote
            machine.run(pickletools.genops(cast(IO[bytes], file)))
        return machine.stack.pop(), machine.identifiers
    except WeightsError:
        raise
    except DAMAGE as error:
        raise WeightsError("its pickle is damaged or cut short") from error


class _Machine:
    """The stack, what lies below each mark, the memo, and the persistent identifiers so far."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.identifiers: list[tuple[Any, ...]] = []

    def run(self, program: Iterable[tuple[pickletools.OpcodeInfo, Any, int | None]]) -> None:
        for count, (instruction, argument, _) in enumerate(program):
            if count == LONGEST_PROGRAM:
                raise WeightsError(f"its pickle has more than {LONGEST_PROGRAM:,} instructions")
            self.step(instruction.name, argument)

    def step(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        if name in VALUES:
            self.push(argument)
        elif name in CONSTANTS:
            self.push(CONSTANTS[name])
        elif name in EMPTY:
            self.push(EMPTY[name]())
        elif name in FIXED_TUPLES:
            self.push(tuple(self.take(FIXED_TUPLES[name])))
        else:
            self.step_further(name, argument)

    def step_further(self, name: str, argument: Any) -> None:
        match name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                self.below.append(self.stack)
                self.stack = []
            case "TUPLE":
                self.push(tuple(self.take_to_mark()))
            case "LIST" | "FROZENSET":
                self.push(self.take_to_mark())
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.remember(argument)
            case "MEMOIZE":
                self.remember(len(self.memo))
            case "GET" | "BINGET" | "LONG_BINGET":
                self.push(self.memo[argument])
            case "APPEND":
                self.extend(self.take(1))
            case "APPENDS" | "ADDITEMS":
                self.extend(self.take_to_mark())
            case "SETITEM":
                self.set_items(self.take(2))
            case "SETITEMS":
                self.set_items(self.take_to_mark())
            case "GLOBAL":
                self.look_up(*argument.split(" ", 1))
            case "STACK_GLOBAL":
                self.look_up(*self.take(2))
            case "REDUCE" | "NEWOBJ":
                self.call(*self.take(2))
            case "NEWOBJ_EX":
                called, arguments, _ = self.take(3)
                self.call(called, arguments)
            case "BUILD":  # the state of an object
                self.take(1)
            case "BINPERSID":
                self.identifiers.append(*self.take(1))
                self.push(Inert("persistent identifier", self.identifiers[-1]))
            case _:
                raise WeightsError(f"its pickle has the instruction {name}, which no checkpoint needs")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def take(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def take_to_mark(self) -> list[Any]:
        taken, self.stack = self.stack, self.below.pop()
        return taken

    def remember(self, place: int) -> None:
        # Larger places could be chosen to fall on one another in the dict, which would take quadratic time.
        if place > LONGEST_PROGRAM:
            raise IndexError
        self.memo[place] = self.stack[-1]

    def extend(self, values: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1] += values
        elif not isinstance(self.stack[-1], Inert):
            raise TypeError

    def set_items(self, keys_and_values: list[Any]) -> None:
        target = self.stack[-1].items if isinstance(self.stack[-1], Inert) else self.stack[-1]
        if not isinstance(target, dict):
            raise TypeError
        for key, value in zip(keys_and_values[::2], keys_and_values[1::2], strict=True):
            target[key if isinstance(key, str) else Inert("key")] = value

    def look_up(self, module: str, attribute: str) -> None:
        # A long text in the memo could be joined again and again, which would take quadratic memory.
        if len(module) + len(attribute) > LONGEST_NAME:
            raise ValueError
        self.push(Inert(".".join((module, attribute))))

    def call(self, called: Any, arguments: Any) -> None:
        if not (isinstance(called, Inert) and isinstance(arguments, tuple)):
            raise TypeError
        self.push(Inert(called.name, arguments))
