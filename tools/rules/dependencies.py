"""Dependencies stand in ARCHITECTURE.md as they are declared, and siblings are asked for by a range."""

from collections.abc import Iterator

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from repository import ARCHITECTURE, Distribution, backticked, names_of


def dependency_faults(house: list[Distribution], rows: dict[str, list[str]]) -> Iterator[str]:
    """Compare the table of dependencies with what the distributions declare."""
    known = {distribution.name for distribution in house}
    for name in sorted(known ^ rows.keys()):
        where = "has no row for" if name in known else "has a row for the unknown"
        yield f"{ARCHITECTURE}: the table of dependencies {where} {name}"
    for distribution in house:
        if distribution.name not in rows:
            continue
        written = {canonicalize_name(name) for name in backticked(rows[distribution.name][0])}
        for name in sorted(written ^ names_of(distribution.dependencies)):
            where = "only in the table" if name in written else "only in pyproject.toml"
            yield f"{ARCHITECTURE}: {distribution.name}'s dependency {name} stands {where}"
        if not backticked(rows[distribution.name][1]):
            yield f"{ARCHITECTURE}: {distribution.name}'s `never imports` holds no name in backticks"


def sibling_faults(house: list[Distribution]) -> Iterator[str]:
    """Check the ranges in which the distributions ask for one another."""
    versions = {distribution.name: distribution.version for distribution in house}
    for distribution in house:
        for requirement in distribution.dependencies + distribution.optional:
            sibling = canonicalize_name(requirement.name)
            if sibling in versions and (fault := range_fault(requirement.specifier, versions[sibling])):
                yield f"{distribution.root / 'pyproject.toml'}: `{requirement}` {fault}"


def range_fault(specifier: SpecifierSet, version: Version) -> str | None:
    """Return what is wrong with a range for a sibling whose current version is `version`, or None."""
    operators = {part.operator for part in specifier}
    if operators & {"==", "==="}:
        return "pins a sibling; give a range"
    if not operators & {">=", ">"} or not operators & {"<", "<="}:
        return "needs a lower and an upper bound"
    return None if specifier.contains(version, prereleases=True) else f"does not admit the current {version}"
