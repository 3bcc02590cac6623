import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import ccnet_core as ccnet
from ccnet_core.shards import INDEX_FILE, WEIGHTS_FILE, write_weights

FIRST, LAST = "model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tiny, tmp_path):
    """The weights of `tiny` in three shards."""
    size = sum(tensor.nbytes for tensor in tiny.state_dict().values())
    tiny.save_pretrained(tmp_path / "weights", max_shard_size=int(size / 2.2))
    return tmp_path / "weights"


def change_index(folder, change):
    content = json.loads((folder / INDEX_FILE).read_text())
    change(content)
    (folder / INDEX_FILE).write_text(json.dumps(content))


def change_shard(folder, shard, change):
    tensors = load_file(folder / shard)
    change(tensors)
    save_file(tensors, folder / shard)


def test_weights_come_back_from_shards(tiny, folder):
    loaded = ccnet.CCNet.from_pretrained(folder)
    assert {*names(folder)} > {FIRST, LAST, INDEX_FILE}
    assert WEIGHTS_FILE not in names(folder)
    for name, tensor in tiny.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name


def test_shards_and_index_are_those_that_the_hub_knows(tiny, folder):
    index = json.loads((folder / INDEX_FILE).read_text())
    state = tiny.state_dict()
    assert index["metadata"] == {"total_size": sum(tensor.nbytes for tensor in state.values())}
    assert set(index["weight_map"]) == set(state)
    for name, shard in index["weight_map"].items():
        assert torch.equal(load_file(folder / shard)[name], state[name]), name
    limit = index["metadata"]["total_size"] / 2.2
    assert all(sum(t.nbytes for t in load_file(path).values()) <= limit for path in folder.glob("model-*"))


def test_saving_again_leaves_no_shard_of_before(tiny, folder):
    tiny.save_pretrained(folder)
    assert [name for name in names(folder) if name.startswith("model")] == [WEIGHTS_FILE]


def test_tensors_that_share_memory_or_are_not_contiguous_are_written_apart(tmp_path):
    base = torch.arange(12.0).view(3, 4)
    state = {"base": base, "same": base, "row": base[1], "turned": base.T, "other": torch.ones(2)}
    write_weights(tmp_path, state, max_shard_size="5GB")
    found = load_file(tmp_path / WEIGHTS_FILE)
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    write_weights(tmp_path, state, max_shard_size=50)
    found = {name: tensor for path in tmp_path.glob("*.safetensors") for name, tensor in load_file(path).items()}
    assert len(names(tmp_path)) > 2
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("size", [0, -1, True, 1.5, None, "", "5", "many GB", "nanGB", "infGB", "-5GB"])
def test_senseless_size_of_a_shard_is_refused(tiny, folder, size):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ccnet.ConfigError, match="max_shard_size must be bytes above 0 or text such as '500MB', got"):
        tiny.save_pretrained(folder, max_shard_size=size)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert names(folder.parent) == ["weights"]


def put(name, shard):
    return lambda folder: change_index(folder, lambda index: index["weight_map"].update({name: shard}))


def shard_is_missing(folder):
    (folder / LAST).unlink()


def index_lacks_a_shard(folder):
    change_index(
        folder,
        lambda index: index.update(weight_map={name: s for name, s in index["weight_map"].items() if s != LAST}),
    )


def index_lacks_a_tensor(folder):
    change_index(folder, lambda index: index["weight_map"].pop("head.attention.cca.gamma"))


def shard_has_one_more(folder):
    change_shard(folder, FIRST, lambda tensors: tensors.update(extra=torch.ones(1)))


def shard_has_one_less(folder):
    change_shard(folder, FIRST, lambda tensors: tensors.pop("backbone.stem.0.weight"))


def single_file_is_there_too(folder):
    shutil.copy(folder / FIRST, folder / WEIGHTS_FILE)


def index_is_missing(folder):
    (folder / INDEX_FILE).unlink()


def index_names_one_more(folder):
    put("extra", FIRST)(folder)
    shard_has_one_more(folder)


def index_is_no_mapping(folder):
    (folder / INDEX_FILE).write_text("[]")


def index_is_damaged(folder):
    (folder / INDEX_FILE).write_text('{"weight_map": {"a": "b", "a": "c"}}')


def index_is_a_folder(folder):
    (folder / INDEX_FILE).unlink()
    (folder / INDEX_FILE).mkdir()


def index_has_an_unknown_key(folder):
    change_index(folder, lambda index: index.update(weight_maps={}))


def shard_is_damaged(folder):
    (folder / LAST).write_bytes((folder / LAST).read_bytes()[:-3])


STEM = "backbone.stem.0.weight"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shard_is_missing, f"/{LAST}: missing, or not a file"),
        (index_lacks_a_shard, f"/{LAST}: not part of {INDEX_FILE}"),
        (index_lacks_a_tensor, rf"safetensors: has head\.attention\.cca\.gamma, which {INDEX_FILE} does not name"),
        (shard_has_one_more, f"/{FIRST}: has extra, which {INDEX_FILE} does not name"),
        (shard_has_one_less, f"/{FIRST}: lacks {STEM}, which {INDEX_FILE} puts there"),
        (put(STEM, LAST), f"/{FIRST}: has {STEM}, which {INDEX_FILE} puts into {LAST}"),
        (index_names_one_more, f"/{FIRST}: 1 tensors not part of this network: extra"),
        (put(STEM, "../other.safetensors"), f"/{INDEX_FILE}: weight_map: {STEM}: '../other.safetensors' is not of"),
        (put(STEM, "/etc/passwd"), f"/{INDEX_FILE}: weight_map: {STEM}: '/etc/passwd' is not of the form"),
        (put(STEM, f"../{FIRST}"), f"/{INDEX_FILE}: weight_map: {STEM}: '../{FIRST}' is not of the form"),
        (put(STEM, f"{FIRST}\n"), f"/{INDEX_FILE}: weight_map: {STEM}: .* is not of the form"),
        (put(STEM, 3), f"/{INDEX_FILE}: weight_map.{STEM}: expected text, got 3"),
        (single_file_is_there_too, f"/{INDEX_FILE}: there is {WEIGHTS_FILE} as well"),
        (index_is_missing, f"/{INDEX_FILE}: missing, and {FIRST} is there"),
        (index_is_no_mapping, f"/{INDEX_FILE}: expected keys and values"),
        (index_is_damaged, f"/{INDEX_FILE}: cannot be read .*'a' is there twice"),
        (index_is_a_folder, f"/{INDEX_FILE}: cannot be read .*not a file"),
        (index_has_an_unknown_key, f"/{INDEX_FILE}: unknown key 'weight_maps'. Did you mean 'weight_map'"),
        (shard_is_damaged, f"/{LAST}: damaged or not a safetensors file"),
    ],
)
def test_index_and_shards_that_do_not_agree_are_named(folder, damage, message):
    damage(folder)
    with pytest.raises(ccnet.WeightsError, match=message):
        ccnet.CCNet.from_pretrained(folder)


def test_missing_tensor_is_missed_in_the_index(folder):
    index_lacks_a_tensor(folder)
    shard = next(path for path in folder.glob("model-*-of-*") if "head.attention.cca.gamma" in load_file(path))
    change_shard(folder, shard.name, lambda tensors: tensors.pop("head.attention.cca.gamma"))
    with pytest.raises(ccnet.WeightsError, match=rf"/{INDEX_FILE}: 1 tensors missing: head\.attention\.cca\.gamma"):
        ccnet.CCNet.from_pretrained(folder)
