"""A network and transforms of MONAI, by configuration, from training to the score of a new scan."""

import json
from functools import partial

import numpy as np
import pytest
from monai.transforms import RandAffine, RandGaussianNoise
from run_fixtures import run_unreported, study_settings

from fmnet.data.bids import read_bids
from fmnet.data.folds import build_folds
from fmnet.errors import ConfigError
from fmnet.export.export import export_run
from fmnet.export.run_scans import read_run_scans
from fmnet.inference.bundle import read_bundle
from fmnet.inference.predict import predict_scan
from fmnet.inference.preparation import PreparationSettings
from fmnet.networks.monai_networks import build_monai
from fmnet.studies.study import run_study
from fmnet.synthetic.maps import write_cohort
from fmnet.training.augmentation import build_augmentation
from fmnet.training.trainer import CPU_TRAINER

NETWORKS = {
    "resnet10": partial(build_monai, name="resnet10", settings={"widen_factor": 0.0625}),
    "ViT": partial(
        build_monai,
        name="ViT",
        settings={
            "patch_size": 4, "hidden_size": 12, "mlp_dim": 24, "num_layers": 1, "num_heads": 2,
        },
        multiple_of=4,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    root = tmp_path_factory.mktemp("monai")
    cohort = write_cohort(root / "cohort", n_subjects=12, effect_size=2.0, voxel_size_mm=12)
    small = {
        "cohort": read_bids(cohort),
        "preparation": PreparationSettings(voxel_size_mm=12, fwhm_mm=12.0),
        "folds": partial(build_folds, n_splits=2, n_repeats=1, inner_splits=2, seed=0),
        "trainer": partial(CPU_TRAINER, max_epochs=1),
        "baselines": {},
        "logger": {},
    }
    return study_settings(root, root / "run") | small


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_network_of_monai_is_trained_exported_and_scores_new_scans(settings, name, tmp_path):
    transforms = [RandAffine(prob=0.5, translate_range=1), RandGaussianNoise(prob=0.5, std=0.1)]
    augmentation = build_augmentation(0.5, noise_sd=0.1, transforms=transforms)
    run_dir, out = tmp_path / "run", tmp_path / "bundle"
    changes = {"network": NETWORKS[name], "augmentation": augmentation, "run_dir": str(run_dir)}
    run_unreported(**settings | changes)
    exported = export_run(str(run_dir), str(out), "network", n_check=3, allow_uninformative=True)
    assert max(exported.agreement.onnx, exported.agreement.torch_export) <= 1e-4
    assert exported.choice.record["title"] == name
    described = json.loads((run_dir / "model" / "network.json").read_text())
    assert described["settings"]["name"] == name
    for scan in read_run_scans(run_dir, 2):
        prediction = predict_scan(read_bundle(out), scan)
        assert prediction.status == "ok"
        assert np.isfinite(prediction.score)


def test_what_does_not_fit_is_refused_before_any_scan_is_opened(settings, tmp_path, monkeypatch):
    def opened(*_, **__):
        raise AssertionError("a scan was opened")

    monkeypatch.setattr("fmnet.studies.study.open_cohort", opened)
    shape = {"run_dir": str(tmp_path / "run")}
    with pytest.raises(ConfigError, match="too small for this network"):
        run_study(**settings | shape | {"network": partial(build_monai, name="DenseNet121")})
    cropping = build_augmentation(transforms=[RandAffine(prob=1, spatial_size=(5, 5, 5))])
    with pytest.raises(ConfigError, match="transforms that keep the shape"):
        run_study(**settings | shape | {"augmentation": cropping})
    assert not (tmp_path / "run").exists()
