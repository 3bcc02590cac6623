import pytest

import ccnet_core as ccnet


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no/such/folder", "there is no such folder"),
        ("ccnet_tiny", "there are no published weights"),
        ("ccnet_tinny", "there is no such folder, no model of the zoo of that name"),
        ("../elsewhere", "there is no such folder"),
    ],
)
def test_missing_folder_is_named(source, message):
    with pytest.raises(ccnet.WeightsError, match=f"{source}: {message}"):
        ccnet.CCNet.from_pretrained(source)


def test_hub_name_is_read_from_the_clients_cache(tiny, tmp_path):
    snapshot = tmp_path / "cache" / "models--org--name" / "snapshots" / ("a" * 40)
    tiny.save_pretrained(snapshot)
    refs = tmp_path / "cache" / "models--org--name" / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    model = ccnet.CCNet.from_pretrained("org/name", cache_dir=tmp_path / "cache", local_files_only=True)
    assert model.config.num_classes == 4


def test_hub_name_that_is_not_cached_is_refused_offline(tmp_path):
    with pytest.raises(ccnet.WeightsError, match="org/name: there is no such folder here, and the Hub did not give it"):
        ccnet.CCNet.from_pretrained("org/name", cache_dir=tmp_path, local_files_only=True)
