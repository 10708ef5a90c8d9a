from pathlib import Path

import pytest

from fmnet.config.check import check_config
from fmnet.errors import ConfigError
from fmnet.studies.study import run_study

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
COUNTS = "a list, each a whole number, at least 1"
PATHS = "'prior', 'adapted', 'focal', 'distributed', 'fine', 'contrast_products', 'voxel_pairs'"


@pytest.mark.parametrize(
    ("override", "accepted"),
    [
        ("batch_size=1", "a whole number, at least 2"),
        ("folds.n_splits=1", "a whole number, at least 2"),
        ("seed=-1", "a whole number, at least 0, below 2147483648"),
        ("preparation.voxel_size_mm=13", "a whole number, at least 1, at most 12"),
        ("preparation.min_coverage=1.2", "a number, at least 0, at most 1"),
        ("network=small_cnn network.dropout=1", "a number, at least 0, below 1"),
        ("network=small_cnn network.channels=[]", f"{COUNTS}, 1 or more of them"),
        ("network=small_cnn network.channels=[8,0]", f"{COUNTS}, 1 or more of them"),
        ("network.power=0.5", "a number, at least 1"),
        ("network.whitening=-1", "a number, at least 0"),
        ("network.voxel_size_mm=0", "a number, above 0"),
        (
            "network.paths=[]",
            f"a list, each {PATHS}, 1 or more of them",
        ),
        ("baselines.linear_svm.c=[0.0]", "a list, each a number, above 0, 1 or more of them"),
        (
            "baselines.shrinkage_lda.fraction=[0.0,1.0]",
            "a list, each a number, above 0, at most 1, 1 or more of them",
        ),
        ("augmentation.probability=1.5", "a number, at least 0, at most 1"),
    ],
)
def test_settings_out_of_range_are_refused_before_any_file_opens(override, accepted):
    with pytest.raises(ConfigError) as caught:
        check_config(CONFIGS, "train", [*override.split(), "run_dir=out"], run_study)
    assert accepted in {fault.accepted for fault in caught.value.faults}


def test_residual_networks_have_four_stages():
    wrong = ["network=resnet", "network.layers=[1,1,1]", "run_dir=out"]
    with pytest.raises(ConfigError, match=r"network\.layers: found \[1, 1, 1\]; accepted: .*4"):
        check_config(CONFIGS, "train", wrong, run_study)
