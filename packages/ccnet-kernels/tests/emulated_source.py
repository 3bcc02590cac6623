"""The source of a kernel, run statement by statement for all threads: a condition that divides them masks some.

The source is read as it stands and nothing in it is changed. What Numba would compute in float64 is refused, as it is
slow on a GPU. Constructs that no kernel uses are refused too.
"""

import ast
import builtins
import functools
import inspect
import itertools
import operator
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
from emulated_instructions import Instructions
from emulated_memory import NOWHERE, EmulationError

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: np.true_divide,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.USub: operator.neg,
    ast.Not: np.logical_not,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


class Returned(Exception):  # noqa: N818 # a way out of a function, not an error
    pass


@functools.cache
def tree_of(function: Any) -> tuple[ast.FunctionDef, str]:
    """Return a function's syntax tree, with line numbers of its file, and the file's name."""
    lines, first = inspect.getsourcelines(function)
    tree = ast.increment_lineno(ast.parse(textwrap.dedent("".join(lines))), first - 1)
    return tree.body[0], inspect.getsourcefile(function).rpartition("/")[2]


def run(function: Any, arguments: tuple[Any, ...], instructions: Instructions) -> Any:
    """Call a function of Numba's with values or vectors of the threads that are active now."""
    tree, file = tree_of(function)
    names = [argument.arg for argument in tree.args.args]
    frame = _Frame(function, dict(zip(names, arguments, strict=True)), instructions, file)
    try:
        frame.run_all(tree.body)
    except Returned as result:
        return result.args[0]
    return None


class _Frame:
    """One call of a function: its names and the code that they stand in."""

    def __init__(self, function: Any, names: dict[str, Any], instructions: Instructions, file: str):
        self.names = names
        self.outside = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
        self.instructions, self.threads = instructions, instructions.threads
        self.active_at_entry = self.threads.active
        self.file = file

    def run_all(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            try:
                STATEMENTS[type(statement)](self, statement)
            except EmulationError as error:
                error.add_note(f"{self.file}:{statement.lineno}: {ast.unparse(statement).splitlines()[0]}")
                raise
            except (KeyError, AttributeError) as error:
                raise EmulationError(f"{self.file}:{statement.lineno}: {error} is not emulated") from error

    def value(self, node: ast.expr) -> Any:
        return EXPRESSIONS[type(node)](self, node)

    # Statements

    def expression(self, node: ast.Expr) -> None:
        self.value(node.value)

    def assign(self, node: ast.Assign) -> None:
        value = self.value(node.value)
        for target in node.targets:
            self.put(target, value)

    def assign_updated(self, node: ast.AugAssign) -> None:
        self.put(node.target, self.combined(node.op, self.value(node.target), self.value(node.value)))

    def put(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Tuple):
            for part, each in zip(target.elts, value, strict=True):
                self.put(part, each)
        elif isinstance(target, ast.Subscript):
            self.instructions.store(self.value(target.value), self.value(target.slice), value)
        elif self.threads.everyone:
            self.names[target.id] = value
        else:
            self.names[target.id] = self.merged(value, self.names.get(target.id))

    def merged(self, new: Any, old: Any) -> Any:
        """Return the new value for the active threads and the old one for the others."""
        if isinstance(new, tuple):
            return tuple(self.merged(each, old[n] if old else None) for n, each in enumerate(new))
        if new is old or not isinstance(new, np.ndarray | np.generic | int | float):
            return new
        if old is None:
            old = np.float32(np.nan) if np.asarray(new).dtype.kind == "f" else NOWHERE
        return np.where(self.threads.active, new, old)

    def choose(self, node: ast.If) -> None:
        condition = self.value(node.test)
        alike = self.threads.alike(condition)
        if alike is not None:
            self.run_all(node.body if alike else node.orelse)
            return
        for chosen, body in ((condition, node.body), (~condition, node.orelse)):
            with self.threads.only(chosen):
                self.run_all(body)

    def repeat(self, node: ast.For) -> None:
        """Run a loop until its last thread is through; each thread takes its own numbers."""
        if not (isinstance(node.iter, ast.Call) and self.value(node.iter.func) is range):
            for value in self.value(node.iter):
                self.names[node.target.id] = value
                self.run_all(node.body)
            return
        bounds = [self.value(argument) for argument in node.iter.args]
        alike = [self.threads.alike(bound) for bound in bounds]
        if None not in alike:
            for value in range(*alike):
                self.names[node.target.id] = value
                self.run_all(node.body)
            return
        start, stop, step = [0, *bounds, 1][-3:] if len(bounds) == 1 else (*bounds, 1)[:3]
        turn = np.broadcast_to(start, self.threads.count)
        while True:
            with self.threads.only(turn < stop) as some:
                if not some:
                    return
                self.names[node.target.id] = turn
                self.run_all(node.body)
            turn = turn + step

    def repeat_while(self, node: ast.While) -> None:
        while True:
            condition = np.broadcast_to(self.value(node.test), self.threads.count)
            with self.threads.only(condition) as some:
                if not some:
                    return
                self.run_all(node.body)

    def give_back(self, node: ast.Return) -> None:
        if self.threads.active is not self.active_at_entry:
            raise EmulationError("a return that only some threads reach is not emulated")
        raise Returned(self.value(node.value) if node.value else None)

    # Expressions

    def look_up(self, node: ast.Name) -> Any:
        if node.id in self.names:
            return self.names[node.id]
        found = self.outside.get(node.id)
        return getattr(builtins, node.id) if found is None else found

    def attribute(self, node: ast.Attribute) -> Any:
        found = getattr(self.value(node.value), node.attr)
        axes = self.instructions.of(found) if inspect.isclass(found) else None
        return found if axes is None else axes

    def element(self, node: ast.Subscript) -> Any:
        array, index = self.value(node.value), self.value(node.slice)
        return array[index] if isinstance(array, tuple) else self.instructions.load(array, index)

    def several(self, nodes: list[ast.expr]) -> tuple[Any, ...]:
        parts = [self.value(n.value) if isinstance(n, ast.Starred) else (self.value(n),) for n in nodes]
        return tuple(itertools.chain.from_iterable(parts))

    def call(self, node: ast.Call) -> Any:
        function = self.value(node.func)
        arguments = self.several(node.args)
        named = {keyword.arg: self.value(keyword.value) for keyword in node.keywords}
        if function is float:
            return float(*arguments)
        emulated = self.instructions.of(function)
        if emulated is not None:
            return emulated(*arguments, **named)
        if not hasattr(function, "py_func"):
            raise EmulationError(f"{ast.unparse(node.func)} is not emulated")
        return run(function.py_func, arguments, self.instructions)

    def combined(self, operation: ast.operator, left: Any, right: Any) -> Any:
        result = OPERATORS[type(operation)](left, right)
        if isinstance(result, np.ndarray | np.generic) and (
            result.dtype == np.float64 or type(left) is float or type(right) is float
        ):
            raise EmulationError("float64 arithmetic")
        return result

    def compared(self, node: ast.Compare) -> Any:
        result, left = True, self.value(node.left)
        for operation, other in zip(node.ops, node.comparators, strict=True):
            right = self.value(other)
            result, left = result & OPERATORS[type(operation)](left, right), right
        return result

    def all_or_any(self, node: ast.BoolOp) -> Any:
        """Evaluate each part for those threads only that the parts before leave undecided."""
        result = self.value(node.values[0])
        for part in node.values[1:]:
            undecided = result if isinstance(node.op, ast.And) else np.logical_not(result)
            alike = self.threads.alike(undecided)
            if alike is not None and not alike:
                return result
            with self.threads.only(np.broadcast_to(undecided, self.threads.count)):
                value = self.value(part)
            result = result & value if isinstance(node.op, ast.And) else result | value
        return result

    def either(self, node: ast.IfExp) -> Any:
        condition = self.value(node.test)
        alike = self.threads.alike(condition)
        if alike is not None:
            return self.value(node.body if alike else node.orelse)
        with self.threads.only(condition):
            first = self.value(node.body)
        with self.threads.only(~condition):
            second = self.value(node.orelse)
        return np.where(condition, first, second)


STATEMENTS: dict[type, Callable[[_Frame, Any], None]] = {
    ast.Expr: _Frame.expression,
    ast.Assign: _Frame.assign,
    ast.AugAssign: _Frame.assign_updated,
    ast.If: _Frame.choose,
    ast.For: _Frame.repeat,
    ast.While: _Frame.repeat_while,
    ast.Return: _Frame.give_back,
}
EXPRESSIONS: dict[type, Callable[[_Frame, Any], Any]] = {
    ast.Constant: lambda frame, node: node.value,
    ast.Name: _Frame.look_up,
    ast.Attribute: _Frame.attribute,
    ast.Subscript: _Frame.element,
    ast.Call: _Frame.call,
    ast.Tuple: lambda frame, node: frame.several(node.elts),
    ast.BinOp: lambda frame, node: frame.combined(node.op, frame.value(node.left), frame.value(node.right)),
    ast.UnaryOp: lambda frame, node: OPERATORS[type(node.op)](frame.value(node.operand)),
    ast.Compare: _Frame.compared,
    ast.BoolOp: _Frame.all_or_any,
    ast.IfExp: _Frame.either,
}
