import json
import pickle

import numpy as np
import pytest

from ccnet_data.clips import frame_of
from ccnet_data.errors import DataError
from ccnet_data.layouts.camvid import split_of
from ccnet_data.registry import check, load, source_named
from ccnet_data.testing import check_dataset

PICTURE = np.zeros((4, 6, 3), np.uint8)
GROUPS = {
    # Class, or None where ignored, of each of the 32 names and colours of label_colors.txt
    "sky": {"Sky": (128, 128, 128)},
    "building": {"Building": (128, 0, 0), "Wall": (64, 192, 0)},
    "pole": {"Column_Pole": (192, 192, 128)},
    "road": {
        "Road": (128, 64, 128),
        "LaneMkgsDriv": (128, 0, 192),
        "LaneMkgsNonDriv": (192, 0, 64),
        "RoadShoulder": (128, 128, 192),
    },
    "pavement": {"Sidewalk": (0, 0, 192), "ParkingBlock": (64, 192, 128)},
    "tree": {"Tree": (128, 128, 0), "VegetationMisc": (192, 192, 0)},
    "sign_symbol": {"SignSymbol": (192, 128, 128), "Misc_Text": (128, 128, 64), "TrafficLight": (0, 64, 64)},
    "fence": {"Fence": (64, 64, 128)},
    "car": {"Car": (64, 0, 128), "SUVPickupTruck": (64, 128, 192), "Truck_Bus": (192, 128, 192)},
    "pedestrian": {"Pedestrian": (64, 64, 0)},
    "bicyclist": {"Bicyclist": (0, 128, 192), "MotorcycleScooter": (192, 0, 192)},
    None: {
        "Void": (0, 0, 0),
        "Animal": (64, 128, 64),
        "Archway": (192, 0, 128),
        "Bridge": (0, 128, 64),
        "CartLuggagePram": (64, 0, 192),
        "Child": (192, 128, 64),
        "OtherMoving": (128, 64, 64),
        "TrafficCone": (0, 0, 64),
        "Train": (192, 64, 128),
        "Tunnel": (64, 0, 64),
    },
}


@pytest.fixture
def segnet(save):
    """Writes a frame of SegNet's form, its label filled with `value`; returns the root."""

    def place(name, split="train", value=0, picture=PICTURE):
        save(f"{split}annot/{name}.png", np.full(picture.shape[:2], value, np.uint8))
        return save(f"{split}/{name}.png", picture).parents[1]

    return place


@pytest.fixture
def original(save):
    """Writes a frame of the original form, its label filled with `colour`; returns the root."""

    def place(name, colour=(128, 128, 128)):
        save(f"LabeledApproved_full/{name}_L.png", np.full((4, 6, 3), colour, np.uint8))
        return save(f"701_StillsRaw_full/{name}.png", PICTURE).parents[1]

    return place


class TestSegNetsForm:
    def test_it_conforms_and_the_root_may_be_the_folder_above(self, segnet):
        segnet("0001TP_006720", split="CamVid/train")
        root = segnet("0001TP_006690", split="CamVid/train")
        for place in (root, root.parent):
            dataset = load("camvid", split="train", root=place)
            check_dataset(dataset)
            assert [sample["id"] for sample in dataset] == ["0001TP_006690", "0001TP_006720"]

    def test_values_are_classes_and_11_is_void(self, segnet, save, camvid_classes):
        root = segnet("0001TP_006690", picture=np.zeros((1, 12, 3), np.uint8))
        save("trainannot/0001TP_006690.png", np.arange(12, dtype=np.uint8)[None])
        dataset = load("camvid", split="train", root=root)
        assert dataset[0]["label"].tolist() == [[*range(11), 255]]
        assert dataset.classes == tuple(camvid_classes)

    def test_another_value_is_refused(self, segnet):
        dataset = load("camvid", split="train", root=segnet("0001TP_006690", value=12))
        with pytest.raises(DataError, match=r"0001TP_006690\.png: label values 12 do not occur in this dataset"):
            dataset[0]

    def test_pictures_and_labels_that_are_alone_are_named(self, segnet):
        root = segnet("0001TP_006690")
        segnet("0001TP_006720")
        (root / "trainannot" / "0001TP_006690.png").unlink()
        (root / "train" / "0001TP_006720.png").unlink()
        (fault,) = check("camvid", {"root": root})
        assert "0001TP_006690.png: has no label of the same name" in fault
        assert "0001TP_006720.png: has no picture of the same name" in fault

    def test_a_split_without_folders_is_told_with_what_was_found(self, segnet):
        root = segnet("0001TP_006690")
        with pytest.raises(
            DataError, match=r"test: there is no such folder; root must hold .* found train/, trainannot/"
        ):
            load("camvid", split="test", root=root)


class TestTheOriginalForm:
    @pytest.mark.parametrize(
        ("group", "colour"), [(group, colour) for group, colours in GROUPS.items() for colour in colours.values()]
    )
    def test_each_of_the_32_colours_becomes_its_class_or_is_ignored(self, original, camvid_classes, group, colour):
        dataset = load("camvid", split="train", root=original("0001TP_006690", colour))
        expected = 255 if group is None else camvid_classes.index(group)
        np.testing.assert_array_equal(dataset[0]["label"], np.full((4, 6), expected))

    def test_blended_colours_are_ignored_in_as_many_pixels_as_the_published_files_have(self, original, save):
        colours = np.full((20, 20, 3), 128, np.uint8)
        colours[:5, :20] = 26
        root = original("Seq05VD_f02610")
        save("701_StillsRaw_full/Seq05VD_f02610.png", colours)
        save("LabeledApproved_full/Seq05VD_f02610_L.png", colours)
        label = load("camvid", split="test", root=root)[0]["label"]
        assert (np.count_nonzero(label == 255), np.count_nonzero(label == 0)) == (100, 300)
        colours[:11, :20] = 26
        save("LabeledApproved_full/Seq05VD_f02610_L.png", colours)
        with pytest.raises(DataError, match=r"_L\.png: 1 colours do not occur in this dataset: #1a1a1a \(220 pixels\)"):
            load("camvid", split="test", root=root)[0]

    def test_its_frames_go_to_the_splits_of_segnet(self, original):
        for name in ("0001TP_008520", "0001TP_008550", "0016E5_07959", "Seq05VD_f00000", "0016E5_07961"):
            root = original(name)
        found = {split: [s["id"] for s in load("camvid", split=split, root=root)] for split in ("train", "val", "test")}
        assert found == {
            "train": ["0001TP_008520"],
            "val": ["0016E5_07959", "0016E5_07961"],
            "test": ["0001TP_008550", "Seq05VD_f00000"],
        }
        check_dataset(load("camvid", split="val", root=root))

    def test_a_picture_without_its_label_is_named(self, original):
        root = original("0001TP_006690")
        (root / "LabeledApproved_full" / "0001TP_006690_L.png").unlink()
        original("0001TP_006720")
        with pytest.raises(DataError, match=r"0001TP_006690\.png: has no label"):
            load("camvid", split="train", root=root)

    def test_a_split_without_frames_is_refused(self, original):
        with pytest.raises(DataError, match="the split 'val' is empty"):
            load("camvid", split="val", root=original("0001TP_006690"))

    @pytest.mark.parametrize("name", ["0001TP_006689", "0016E5_08161", "Seq05VD_f05101", "other_00390"])
    def test_a_frame_outside_the_published_ranges_is_in_no_split(self, name):
        assert split_of(name) is None


class TestClips:
    def test_they_are_found_within_runs(self, segnet):
        for number in (390, 420, 450, 480, 2400, 2430, 2460):
            root = segnet(f"0016E5_{number:05d}", picture=np.full((4, 6, 3), number % 256, np.uint8), value=number % 11)
        dataset = load("camvid", split="train", root=root, frames=3)
        check_dataset(dataset)
        assert [sample["id"] for sample in dataset] == ["0016E5_00450", "0016E5_00480", "0016E5_02460"]
        assert dataset[1]["image"][:, 0, 0, 0].tolist() == [420 % 256, 450 % 256, 480 % 256]
        np.testing.assert_array_equal(dataset[1]["label"], np.full((4, 6), 480 % 11))

    def test_the_original_form_has_them_too(self, original):
        for number in (0, 30, 60):
            root = original(f"Seq05VD_f{number:05d}")
        assert [s["image"].shape for s in load("camvid", split="test", root=root, frames=2)] == [(2, 3, 4, 6)] * 2

    def test_what_is_left_to_verify_is_every_single_frame(self, segnet):
        segnet("0001TP_006690")
        readable, faults = source_named("camvid")(root=segnet("0001TP_006720"), frames=2).partial("train")
        assert (readable.task, len(readable), faults) == ("segmentation", 2, ())

    def test_no_run_of_that_length_is_an_error(self, segnet):
        with pytest.raises(DataError, match="split 'train' has no 5 frames that follow one another"):
            load("camvid", split="train", root=segnet("0001TP_006690"), frames=5)

    def test_they_travel_to_other_processes(self, segnet):
        segnet("0001TP_006690")
        dataset = load("camvid", split="train", root=segnet("0001TP_006720"), frames=2)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(dataset))[0]["image"], dataset[0]["image"])

    @pytest.mark.usefixtures("arrow_cache")
    def test_a_table_without_the_names_of_frames_has_none(self, tmp_path, png):
        import datasets

        content = {"image": [png(PICTURE)] * 2, "label": [png(PICTURE[..., 0])] * 2}
        datasets.Dataset.from_dict(content).to_parquet(tmp_path / "train.parquet")
        assert len(load("camvid", split="train", root=tmp_path)) == 2
        with pytest.raises(DataError, match=r"train\.parquet: clips are found by the names of frames"):
            load("camvid", split="train", root=tmp_path, frames=2)

    @pytest.mark.parametrize("frames", [0, 101, 2.0])
    def test_a_wrong_number_of_frames_is_refused(self, segnet, frames):
        (fault,) = check("camvid", {"root": segnet("0001TP_006690"), "frames": frames})
        assert fault.startswith("frames must be a whole number from 1 to 100")


class TestTheRoot:
    def test_it_is_told_what_is_expected_and_what_was_found(self, tmp_path):
        (tmp_path / "videos").mkdir()
        (fault,) = check("camvid", {"root": tmp_path})
        assert "root must hold {train,val,test}/*.png" in fault
        assert fault.endswith("found videos/.")

    @pytest.mark.parametrize("options", [{}, {"root": "none"}])
    def test_it_must_be_given_and_there(self, options):
        (fault,) = check("camvid", options)
        assert "701_StillsRaw_full/*.png and LabeledApproved_full/*_L.png" in fault

    def test_an_unknown_split_gets_the_nearest(self, segnet):
        with pytest.raises(DataError, match=r"has no split 'vall'\. Did you mean 'val'\?"):
            load("camvid", split="vall", root=segnet("0001TP_006690"))


@pytest.mark.usefixtures("arrow_cache")
class TestTheSharedData:
    """CamVid as parquet, with the runs of its frames in segments.json."""

    @pytest.mark.parametrize(("split", "count"), [("train", 367), ("val", 101)])
    def test_it_conforms_and_is_read_whole(self, camvid, camvid_classes, split, count):
        dataset = load("camvid", split=split, root=camvid)
        assert (len(dataset), dataset.classes) == (count, tuple(camvid_classes))
        check_dataset(dataset)
        seen = np.zeros(256, np.int64)
        for sample in dataset:
            assert sample["image"].shape == (3, 360, 480)
            assert split_of(sample["id"]) == split
            seen += np.bincount(sample["label"].ravel(), minlength=256)
        assert seen[:11].all()
        assert seen[255] / seen.sum() == pytest.approx({"train": 0.04, "val": 0.02}[split], abs=0.005)

    @pytest.mark.parametrize("length", [2, 5])
    @pytest.mark.parametrize("split", ["train", "val"])
    def test_its_clips_are_those_of_the_runs(self, camvid, split, length):
        runs = json.loads((camvid / "segments.json").read_text(encoding="utf-8"))[split]
        expected = [run["files"][end - length : end] for run in runs for end in range(length, len(run["files"]) + 1)]
        clips = load("camvid", split=split, root=camvid, frames=length)
        names = list(clips.dataset.rows["file_name"])
        assert [[names[place] for place in places] for places in clips.positions] == sorted(expected)

    def test_a_clip_has_five_frames_and_the_last_label(self, camvid):
        clips = load("camvid", split="val", root=camvid, frames=5)
        check_dataset(clips)
        single = {sample["id"]: sample for sample in load("camvid", split="val", root=camvid)}
        sample = clips[40]
        sequence, number = frame_of(sample["id"])
        for image, before in zip(sample["image"], (8, 6, 4, 2, 0), strict=True):
            np.testing.assert_array_equal(image, single[f"{sequence}_{number - before:05d}.png"]["image"])
        np.testing.assert_array_equal(sample["label"], single[sample["id"]]["label"])

    def test_splits_and_faults_are_those_of_the_files(self, camvid):
        assert check("camvid", {"root": camvid}) == []
        with pytest.raises(DataError, match=r"there is no test\.parquet for the split 'test'"):
            load("camvid", split="test", root=camvid)
