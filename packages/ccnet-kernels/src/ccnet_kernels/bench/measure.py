"""One case from beginning to end: every contender checked, then those that are right timed in turn."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from ccnet_kernels.bench.case import STEPS, Case, random_arguments
from ccnet_kernels.bench.check import expected_of, faults
from ccnet_kernels.bench.clock import medians
from ccnet_kernels.bench.contenders import CORE, OURS, Contender
from ccnet_kernels.bench.floor import cost_of, rates_of
from ccnet_kernels.bench.memory import peak_bytes
from ccnet_kernels.bench.table import Row

Place = tuple[str, str]  # contender, step


def measure(case: Case, contenders: Sequence[Contender], *, rounds: int, cold: bool) -> list[Row]:
    """Return a row for each contender and step, with times or with the reason why there are none."""
    torch.compiler.reset()  # else a compiler gives up after eight shapes, and runs what it was given uncompiled
    notes = reasons(case, contenders)
    arguments = random_arguments(case)
    calls: dict[Place, Callable[[], object]] = {
        (contender.name, step): functools.partial(STEPS[step], contender.attend, arguments)
        for contender in contenders
        for step in STEPS
        if (contender.name, step) not in notes
    }
    peaks = {place: peak_bytes(call, case.device) for place, call in calls.items()}
    times = medians(calls, case.device, rounds, cold=cold)
    rows = []
    for contender in contenders:
        for step in STEPS:
            place = (contender.name, step)
            against = next((times[name, step] for name in (OURS, CORE) if (name, step) in times), None)
            rows.append(
                row_of(case, contender, step, times.get(place), peaks.get(place), against, notes.get(place, ""))
            )
    return rows


def reasons(case: Case, contenders: Sequence[Contender]) -> dict[Place, str]:
    """Return why a contender is not timed in a step: it does not serve the case, or it is wrong."""
    found: dict[Place, str] = {}
    for non_local in (False, True):
        group = [contender for contender in contenders if contender.is_non_local is non_local]
        able = [contender for contender in group if contender.why_not(case) is None]
        found |= {(one.name, step): str(one.why_not(case)) for one in group if one not in able for step in STEPS}
        if able:
            expected = expected_of(able[0].definition, random_arguments(case))
            for one in able:
                found |= {(one.name, step): fault for step, fault in faults(one, case, expected).items()}
    return found


def row_of(
    case: Case,
    contender: Contender,
    step: str,
    milliseconds: float | None,
    peak: int | None,
    against: float | None,
    note: str,
) -> Row:
    """Return one line of the table; `against` is the time that `ratio` refers to."""
    row = Row(
        level=case.level,
        shape="x".join(map(str, case.shape)),
        dtype=case.dtype,
        layout=case.layout,
        step=step,
        name=contender.name,
        kind="backend" if contender.is_backend else "peer",
        version=contender.version,
        note=note,
    )
    if milliseconds is None or peak is None:
        return row
    cost = cost_of(case, step, contender.is_non_local)
    floor = rates_of(case.device, case.dtype).floor_ms(cost)
    return replace(
        row,
        time_ms=milliseconds,
        ratio=None if against is None else milliseconds / against,
        peak_MB=peak / 1e6,
        gbytes_per_s=cost.bytes / milliseconds / 1e6,
        gflops_per_s=cost.flops / milliseconds / 1e6,
        floor_ms=floor,
        times_floor=milliseconds / floor,
    )
