import pytest

import ccnet_core as ccnet
from ccnet_core.errors import WeightsError
from ccnet_train import TrainError, fit
from ccnet_train.publish import announce, push

# integration/test_train_push.py pushes with the real client.


@pytest.fixture
def pushed(monkeypatch):
    """Note what would go to the Hub."""
    calls = []

    def note(self, repository, **described):
        calls.append((self, repository, described))
        return f"https://hub/{repository}"

    monkeypatch.setattr(ccnet.CCNet, "push_to_hub", note)
    return calls


def test_the_best_weights_go_with_their_metrics_the_data_and_a_picture(squares, pushed):
    recipe = squares("train.iterations=4", "evaluate.every=1", "card.license=mit")
    result = fit(recipe, quiet=True)
    assert push(recipe, result, "org/name") == "https://hub/org/name"
    ((network, repository, described),) = pushed
    best = max((line for line in result.history if "miou" in line), key=lambda line: line["miou"])
    assert repository == "org/name"
    assert described["metrics"] == {key: best[key] for key in ("miou", "macc", "aacc")}
    assert (described["datasets"], described["license"]) == (("squares",), "mit")
    assert described["picture"].shape == (3, 32, 32)
    for name, tensor in ccnet.CCNet.from_pretrained(result.best_folder).state_dict().items():
        assert tensor.equal(network.state_dict()[name]), name


def test_a_push_that_fails_says_that_the_run_is_there_and_how_to_push_again(squares, monkeypatch):
    def refuse(self, repository, **described):
        raise WeightsError(f"{repository}: not pushed: the Hub did not answer in time.")

    monkeypatch.setattr(ccnet.CCNet, "push_to_hub", refuse)
    recipe = squares("train.iterations=1")
    result = fit(recipe, quiet=True)
    with pytest.raises(TrainError) as raised:
        push(recipe, result, "org/name")
    assert str(raised.value) == (
        "org/name: not pushed: the Hub did not answer in time. The run is finished, and its best weights are in "
        f"{result.best_folder}: the same command, without --fresh, only pushes them again."
    )


def test_data_that_is_gone_does_not_lose_the_run_either(squares, pushed):
    recipe = squares("train.iterations=1")
    result = fit(recipe, quiet=True)
    with pytest.raises(TrainError, match=r"no folder 'missing'.* The run is finished.* only pushes them again"):
        push(squares("train.iterations=1", "data.root=missing"), result, "org/name")
    assert pushed == []


def test_without_a_picture_the_data_is_not_needed(squares, pushed):
    result = fit(squares("train.iterations=1"), quiet=True)
    push(squares("train.iterations=1", "data.root=missing", "card.picture=false"), result, "org/name")
    assert pushed[0][2]["picture"] is None


@pytest.mark.parametrize(
    ("overrides", "said"),
    [([], ["picture", "licence"]), (["card.picture=false"], ["licence"]), (["card.license=mit"], ["picture"])],
)
def test_it_is_said_before_what_others_will_see(squares, monkeypatch, overrides, said):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    first, *lines = announce(squares(*overrides), "org/name").splitlines()
    assert first == "after the run its best weights go to org/name"
    assert len(lines) == len(said)
    assert all(word in line for word, line in zip(said, lines, strict=True))


@pytest.mark.parametrize("name", ["name", "org/na me"])
def test_a_name_that_cannot_be_is_known_before(squares, monkeypatch, name):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with pytest.raises(WeightsError, match=name):
        announce(squares(), name)
