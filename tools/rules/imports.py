"""A distribution imports only what it declares, and nothing that ARCHITECTURE.md forbids it."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from repository import Distribution, names_of

# Who provides a module whose name is not its distribution's; the longest prefix decides. numba pins llvmlite exactly
# and its extension API hands out llvmlite builders, so who may know numba may know llvmlite.
PROVIDERS = {
    "yaml": "pyyaml",
    "PIL": "pillow",
    "numba.cuda": "numba-cuda",
    "llvmlite": "numba",
    "cuda.core": "cuda-core",
    "cuda.bindings": "cuda-bindings",
    "torch.utils.tensorboard": "tensorboard",
}


@dataclass(frozen=True, kw_only=True)
class Import:
    """One import statement; `lazy` if it runs only when a function is called, or never."""

    line: int
    module: str
    lazy: bool


def imports(node: ast.AST, lazy: bool = False) -> Iterator[Import]:
    """Return every absolute import below `node`, with the imported name: `from PIL import Image` is PIL.Image."""
    lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or is_type_checking(node)
    for module in imported(node):
        yield Import(line=getattr(node, "lineno", 0), module=module, lazy=lazy)
    for child in ast.iter_child_nodes(node):
        yield from imports(child, lazy)


def imported(node: ast.AST) -> list[str]:
    """Return the modules that one statement or call imports."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(module), names=names, level=0):
            return [f"{module}.{alias.name}" for alias in names]
        case ast.Call(
            func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
            args=[ast.Constant(value=str(module)), *_],
        ) if not module.startswith("."):
            return [module]
    return []


def is_type_checking(node: ast.AST) -> bool:
    """Return whether `node` is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def is_within(module: str, prefix: str) -> bool:
    """Return whether `module` is `prefix` or lies in it."""
    return module == prefix or module.startswith(f"{prefix}.")


def provider(module: str) -> str:
    """Return the distribution that a third-party module comes from."""
    prefixes = [prefix for prefix in PROVIDERS if is_within(module, prefix)]
    return PROVIDERS[max(prefixes, key=len)] if prefixes else canonicalize_name(module.partition(".")[0])


def import_fault(found: Import, distribution: Distribution, never: set[str], room: set[str]) -> str | None:
    """Return what is wrong with one import of a file in the folders `room`, or None.

    A folder named after an extra is the door to its packages: who imports the folder wants them.
    """
    origin = provider(found.module)
    for name in sorted(never):
        if is_within(found.module, name.replace("-", "_")) or origin == canonicalize_name(name):
            return f"imports {found.module}, and {distribution.name} never imports {name}"
    if found.module.partition(".")[0] in sys.stdlib_module_names | {distribution.package}:
        return None
    if origin in names_of(distribution.dependencies):
        return None
    if origin not in names_of(distribution.optional):
        return f"imports {found.module}, but {distribution.name} does not declare {origin}"
    open_here = any(origin in names_of(required) for extra, required in distribution.extras.items() if extra in room)
    if found.lazy or open_here:
        return None
    return f"imports {found.module} outside a function, but {origin} is only in an extra"


def import_faults(distribution: Distribution, never: set[str]) -> Iterator[str]:
    """Check every import of one distribution's source."""
    for path in sorted((distribution.root / "src").rglob("*.py")):
        room = set(path.relative_to(distribution.root).parts[:-1])
        for found in imports(ast.parse(path.read_text(), str(path))):
            if fault := import_fault(found, distribution, never, room):
                yield f"{path}:{found.line}: {fault}"
