import builtins
import json

import pytest
from huggingface_hub import errors

from ccnet_core.hub_errors import SENTENCES, WRAPPERS, explain

HTTP = __import__(errors.HTTPError.__module__.partition(".")[0])
"""The client's HTTP library, under whichever name."""


@pytest.mark.parametrize("name", [name for name in (*SENTENCES, *WRAPPERS) if isinstance(name, str)])
def test_every_name_is_that_of_an_error_of_the_client_or_of_what_it_uses(name):
    found = [getattr(module, name) for module in (errors, HTTP, builtins, json) if hasattr(module, name)]
    assert issubclass(found[0], Exception)


@pytest.mark.parametrize("sentence", SENTENCES.values())
def test_sentence_goes_into_a_message_that_ends_it(sentence):
    assert not sentence.endswith(".")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (HTTP.ReadTimeout("slow"), "the Hub did not answer in time"),
        (HTTP.ConnectTimeout("slow"), "the Hub did not answer in time"),
        (HTTP.ConnectError("[Errno 111] Connection refused"), r"failed \(\[Errno 111\] Connection refused\)\. Check"),
        (HTTP.ProxyError("407"), r"the connection to the Hub failed \(407\)\. Check the network, the proxy"),
        (PermissionError(13, "Permission denied"), r"the cache cannot be written \(Permission denied\)"),
        (errors.FileMetadataError("no ETag.\nMore."), r"what answered is not a Hub \(no ETag\)"),
        (errors.IncompleteSnapshotError("partial", snapshot_path="x"), "its copy in the cache is incomplete"),
        (errors.LocalEntryNotFoundError("nothing"), "not in the cache, and nothing may be fetched"),
    ],
)
def test_error_has_the_sentence_of_its_nearest_kind(error, sentence):
    with pytest.raises(ValueError, match=sentence):
        raise ValueError(explain(error))


@pytest.mark.parametrize("wrapper", [errors.LocalEntryNotFoundError("no file"), RuntimeError("Error while uploading")])
def test_error_that_wraps_another_is_told_by_that_one(wrapper):
    wrapper.__cause__ = HTTP.ReadTimeout("slow")
    assert explain(wrapper).startswith("the Hub did not answer in time")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError("Consistency check failed.\nPlease retry."), "Consistency check failed"),
        (RuntimeError("of the transfer"), "of the transfer"),
        (KeyError(), "KeyError"),
    ],
)
def test_error_that_has_no_sentence_is_told_in_its_own_first_line(error, told):
    assert explain(error) == told
