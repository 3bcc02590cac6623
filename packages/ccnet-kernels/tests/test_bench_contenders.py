import functools
from types import SimpleNamespace

import pytest
import torch
from bench_cases import tiny, worst_errors

from ccnet_kernels.bench import contenders as room
from ccnet_kernels.bench.contenders import contenders, named, peers
from ccnet_kernels.formula import plain_attention, plain_non_local


@pytest.fixture
def installed(monkeypatch):
    def install(**loaded):
        points = [SimpleNamespace(name=name, load=lambda one=one: one) for name, one in loaded.items()]
        monkeypatch.setattr(room, "entry_points", lambda group: points)

    return install


class Backend:
    version = "1.2"

    def why_unsupported(self, spec):
        return "pictures only" if spec.rank == 3 else None

    def __call__(self, *arguments, **options):
        return plain_attention(*arguments, **options)


def test_backends_are_those_of_the_entry_points_and_this_distribution_comes_first(installed):
    installed(another=Backend(), numba=Backend())
    assert [one.name for one in contenders() if one.is_backend] == ["numba", "another"]


def test_a_backend_says_itself_what_it_does_not_serve(installed):
    installed(torch=Backend())
    one = named("torch", contenders())
    assert (one.why_not(tiny()), one.why_not(tiny(shape=(1, 4, 8, 3, 4, 5)))) == (None, "pictures only")
    assert one.version == "1.2"


def test_core_is_compiled_too_where_it_is_installed(installed, monkeypatch):
    monkeypatch.setattr(room.torch, "compile", functools.partial(torch.compile, backend="eager"))
    installed(numba=Backend())
    assert named("torch-compiled", contenders()) is None
    installed(torch=Backend())
    one = named("torch-compiled", contenders())
    assert one is not None
    assert max(worst_errors(one.attend, plain_attention, tiny()).values()) < 1e-5


def test_a_name_that_nobody_has_is_refused_with_those_there_are(installed):
    installed(numba=Backend())
    with pytest.raises(ValueError, match=r"there is no flax here; there are numba, einsum, .*, flex"):
        contenders(["numba", "flax"])


def test_only_the_non_local_block_is_held_against_its_own_formula():
    definitions = {one.name: one.definition for one in peers()}
    assert definitions.pop("non-local") is definitions.pop("non-local-sdpa") is plain_non_local
    assert set(definitions.values()) == {plain_attention}


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("einsum", (1, 4, 8, 3, 4, 5), "takes pictures"),
        ("einsum-compiled", (1, 4, 8, 3, 4, 5), "takes pictures"),
        ("sdpa-lines", (1, 4, 8, 5, 7), "of one width"),
        ("sdpa-lines-heads", (1, 4, 9, 5, 7), "9 value channels are no multiple of 4"),
        ("non-local-sdpa", (1, 4, 9, 5, 7), "9 value channels are no multiple of 4"),
        ("non-local", (8, 64, 512, 1024, 1024), "5 maps of weights take 175922 GB"),
    ],
)
def test_a_peer_says_what_it_cannot_do(name, shape, reason):
    one = named(name, peers())
    assert reason in one.why_not(tiny(shape=shape))


def test_a_typical_map_is_served_by_all_peers_but_one():
    case = tiny(shape=(1, 64, 512, 97, 97))
    assert [one.name for one in peers() if one.why_not(case)] == ["sdpa-lines"]
