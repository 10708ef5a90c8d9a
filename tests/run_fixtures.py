"""One small finished study and its bundle, made once for all tests that read them."""

import io
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest

from fmnet.baselines.base import Dummy
from fmnet.baselines.linear import LinearSvm
from fmnet.crossval.permutation import PermutationPlan
from fmnet.crossval.reruns import LearningCurvePlan, SensitivityPlan
from fmnet.data.folds import build_folds
from fmnet.evaluation.audit import AuditPlan
from fmnet.export.export import export_run
from fmnet.inference.bundle import read_bundle
from fmnet.inference.preparation import PreparationSettings
from fmnet.networks.backbones import build_small_cnn
from fmnet.runs.checkpoints import Shard
from fmnet.studies.groups import StudyOfGroups
from fmnet.studies.lockbox import LockBox
from fmnet.studies.study import run_study
from fmnet.studies.target import StudyOfTarget
from fmnet.synthetic.maps import read_synthetic
from fmnet.training.compute import Compute
from fmnet.training.fit import ADAMW
from fmnet.training.loggers import build_csv_logger
from fmnet.training.trainer import CPU_TRAINER

CONTRASTS = ["pressure", "visual"]


def study_settings(root: Path, run_dir: Path, **changes) -> dict:
    """A study that takes seconds: two contrasts, 8 mm voxels, two folds."""
    settings = {
        "cohort": read_synthetic(
            root / "cohorts", n_subjects=24, contrasts=CONTRASTS, effect_size=12.0, voxel_size_mm=8
        ),
        "preparation": PreparationSettings(voxel_size_mm=8, fwhm_mm=12.0),
        "folds": partial(build_folds, n_splits=2, n_repeats=2, inner_splits=2, seed=0),
        "network": partial(build_small_cnn, channels=[4, 6]),
        "optimizer": ADAMW,
        "callbacks": {},
        "batch_size": 8,
        "augmentation": None,
        "compute": Compute(),
        "shard": Shard(),
        "trainer": partial(CPU_TRAINER, max_epochs=8),
        "baselines": {"dummy": Dummy(), "linear_svm": LinearSvm(fwhm_mm=(0.0, 12.0), c=(0.1, 1.0))},
        "logger": {"csv": build_csv_logger},
        "permutation": PermutationPlan(),
        "sensitivity": SensitivityPlan(),
        "learning_curve": LearningCurvePlan(),
        "lockbox": LockBox(),
        "audit": AuditPlan(),
        "shuffle_labels": False,
        "n_seeds": 1,
        "seed": 0,
        "run_dir": str(run_dir),
        "store_dir": str(root / "store"),
        "overwrite": False,
        "resume": False,
        "config_yaml": "seed: 0\n",
    }
    return settings | changes


def run_unreported(**settings) -> list[str]:
    """Run a study whose report nobody reads: of a small one, its figures are half of the work."""
    skip = staticmethod(lambda *_: None)
    with (
        patch.object(StudyOfGroups, "write_report", skip),
        patch.object(StudyOfTarget, "write_report", skip),
    ):
        return run_study(**settings)


@pytest.fixture(scope="session")
def study_root(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="session")
def finished(study_root):
    """A run folder, the bundle of its network, and what the study printed and logged."""
    run_dir, out = study_root / "run", study_root / "bundle"
    settings = study_settings(study_root, run_dir)
    with redirect_stderr(io.StringIO()) as log:
        lines = run_study(**settings)
    exported = export_run(str(run_dir), str(out), "network")
    return SimpleNamespace(
        run_dir=run_dir,
        bundle_dir=out,
        lines=lines,
        log=log.getvalue(),
        agreement=exported.agreement,
        listing=settings["cohort"],
    )


@pytest.fixture(scope="session")
def bundle(finished):
    return read_bundle(finished.bundle_dir)


@pytest.fixture(scope="session")
def chosen(finished, study_root):
    """What is exported of the same run where no model is asked for: the linear SVM, which wins."""
    out = study_root / "bundle-chosen"
    exported = export_run(str(finished.run_dir), str(out))
    return SimpleNamespace(exported=exported, bundle=read_bundle(out))
