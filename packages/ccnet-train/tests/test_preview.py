import numpy as np
from PIL import Image

import ccnet_core as ccnet
from ccnet_train.datasets import load_split
from ccnet_train.preview import write_preview


def test_the_preview_has_a_row_of_three_per_picture(squares, tmp_path):
    dataset = load_split(squares().data, "val")
    model = ccnet.CCNet.from_config("ccnet_tiny", classes=dataset.classes, palette=dataset.palette)
    returned = write_preview(tmp_path / "preview.png", model, dataset)
    preview = np.asarray(Image.open(tmp_path / "preview.png"))
    assert np.array_equal(returned, preview)
    assert preview.shape == (4 * 32 + 3 * 4, 3 * 32 + 2 * 4, 3)
    # Every square has the colour of its class, so below the ignored rows picture and truth are the same.
    assert np.array_equal(preview[2:32, :32], preview[2:32, 36:68])
    assert (preview[:2, 36:68] == 0).all()


def test_the_rows_are_spread_over_the_split(squares, tmp_path):
    dataset = load_split(squares("data.val.length=8").data, "val")
    asked = []

    class Watched:
        palette, task = dataset.palette, dataset.task

        def __len__(self):
            return len(dataset)

        def __getitem__(self, index):
            asked.append(index)
            return dataset[index]

    write_preview(tmp_path / "p.png", ccnet.CCNet.from_config("ccnet_tiny", num_classes=3), Watched())
    assert asked == [0, 2, 4, 6]
