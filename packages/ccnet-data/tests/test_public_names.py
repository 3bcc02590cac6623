import subprocess
import sys

import ccnet_data


def test_every_public_name_exists_and_is_listed():
    assert set(ccnet_data.__all__) == {
        "API_VERSION",
        "DataError",
        "InstanceAugment",
        "Instances",
        "Sample",
        "SegmentationDataset",
        "TrainAugment",
        "WarpAugment",
        "__version__",
        "check",
        "list_datasets",
        "load",
        "warp_back",
    }
    assert all(hasattr(ccnet_data, name) for name in ccnet_data.__all__)


def test_importing_needs_neither_torch_nor_the_siblings_nor_slow_readers():
    siblings = {"torch", "accelerate", "ccnet_core", "ccnet_kernels", "ccnet_train"}
    unwanted = siblings | {"datasets", "pyarrow", "scipy", "pycocotools", "tqdm"}
    code = f"import sys, ccnet_data.plugin, ccnet_data.cli; print(sorted(set(sys.modules) & {unwanted!r}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
