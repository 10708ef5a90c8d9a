"""A small fMRIPrep-like tree, and bundles that read it: one of series, one of maps."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from sd_network import build_sd_network

from fmnet.bold.acquired import AcquiredBold
from fmnet.bold.cleaned import CleanedBold
from fmnet.bold.maps import compute_maps, parse_maps
from fmnet.bold.settings import CleaningSettings
from fmnet.data.store import ArrayStore
from fmnet.export.export import export_run
from fmnet.inference.bold import describe_run
from fmnet.inference.bold_contract import BoldContract, write_contract
from fmnet.inference.bundle import read_bundle, write_plain
from fmnet.inference.calibration import Calibration
from fmnet.inference.preparation import (
    PreparationSettings,
    SeriesPreparation,
    fit_preparation,
)
from fmnet.inference.quality import fit_reference, temporal_sd
from fmnet.networks.backbones import build_small_cnn
from fmnet.networks.rebuild import describe_builder, write_network

SPACE, T_R, N_VOLUMES, WINDOW = "MNI152NLin2009cAsym", 2.0, 100, 40
CLEANING = CleaningSettings("motion6", 0.01, 0.1, None, 20)
MAPS = ("temporal_sd", "alff")
MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")


def write_run(
    root: Path,
    grid: Any,
    person: str = "sub-01",
    session: str = "",
    run: str = "",
    task: str = "rest",
    space: str = SPACE,
    seed: int = 0,
    t_r: float = T_R,
    n_volumes: int = N_VOLUMES,
    mean_fd_mm: float = 0.1,
    change: Callable[[Any], Any] = lambda values: values,
) -> Path:
    """Write a run with mask, sidecar and confounds as fMRIPrep names them; returns the image."""
    rng = np.random.default_rng(seed)
    values = 1000 + 3 * rng.normal(size=(n_volumes, grid.n_voxels))
    stem = "_".join(
        [person, *([f"ses-{session}"] if session else []), f"task-{task}"]
        + ([f"run-{run}"] if run else [])
    )
    folder = root / person / (f"ses-{session}" if session else "") / "func"
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / f"{stem}_space-{space}"
    image = Path(f"{output}_desc-preproc_bold.nii.gz")
    data = np.moveaxis(grid.unmask(change(values).astype(np.float32)), 0, -1)
    nifti = nib.Nifti1Image(data, grid.affine)
    nifti.header.set_zooms((*nifti.header.get_zooms()[:3], t_r))
    nifti.header.set_xyzt_units("mm", "sec")
    nifti.to_filename(image)
    mask = nib.Nifti1Image(grid.mask.astype(np.uint8), grid.affine)
    mask.to_filename(f"{output}_desc-brain_mask.nii.gz")
    Path(f"{output}_desc-preproc_bold.json").write_text(json.dumps({"RepetitionTime": t_r}))
    table = pd.DataFrame(rng.normal(size=(n_volumes, 6)) / 100, columns=MOTION)
    table["framewise_displacement"] = [np.nan, *[mean_fd_mm] * (n_volumes - 1)]
    path = folder / f"{stem}_desc-confounds_timeseries.tsv"
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    return image


@pytest.fixture(scope="session")
def bold_grid(grid):
    return replace(grid, space=SPACE)


@pytest.fixture(scope="session")
def bold_tree(bold_grid, tmp_path_factory):
    """Four people with a run each; the data set is a derivative of none."""
    root = tmp_path_factory.mktemp("fmriprep")
    for number in range(4):
        write_run(root, bold_grid, f"sub-{number + 1:02d}", seed=number)
    return root


@pytest.fixture(scope="session")
def write_new_run(bold_grid):
    """Write a run, see `write_run`."""
    return lambda root, **changes: write_run(root, bold_grid, **changes)


def _write_run_folder(folder, images, network, description, reference, maps, contrasts):
    """Write what export needs of a finished run, but for the preparation."""
    model = folder / "model"
    write_network(network, description, model)
    write_plain(Calibration(1.0, 0.0), model / "calibration.json")
    write_plain(reference, model / "reference.json")
    write_contract(BoldContract(CLEANING, maps, T_R), model)
    figures = {"auc": 0.8, "auc_ci": [0.6, 0.9], "balanced_accuracy": 0.7}
    record = {
        "model": "network", "title": "sd network", "chosen_among": ["network"], "label": "group",
        "positive": "FM", "negative": "HC", "contrasts": contrasts, "stat": "percent",
        "space": SPACE, "origin": "synthetic", "n_scans": 4, "n_subjects": 4, "n_epochs": 1,
        "c": None, "seed": 0, "crossvalidation": {"network": figures}, "control": "",
    }  # fmt: skip
    (model / "training.json").write_text(json.dumps(record))
    rows = [
        {"participant_id": f"sub-{number:02d}", "scan_id": f"sub-{number:02d}", "used": "yes",
         "files": str(image), "space": SPACE}
        for number, image in enumerate(images, 1)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "cohort.tsv", sep="\t", index=False)


def _exported(folder, **settings):
    out = folder.with_name(f"{folder.name}-bundle")
    exported = export_run(str(folder), str(out), n_check=3, **settings)
    return SimpleNamespace(run_dir=folder, agreement=exported.agreement, bundle=read_bundle(out))


@pytest.fixture(scope="session")
def series_export(bold_tree, bold_grid, tmp_path_factory):
    """Export a network that reads windows of the cleaned series."""
    folder = tmp_path_factory.mktemp("series") / "run"
    (folder / "model").mkdir(parents=True)
    images = sorted(bold_tree.rglob("*_bold.nii.gz"))
    store = ArrayStore(folder.parent / "store", CleanedBold(bold_grid, CLEANING))
    cleaned = [store.add(describe_run(image, SPACE)) for image in images]
    preparation = SeriesPreparation(bold_grid, ("bold",), 0.5, WINDOW)
    preparation.write(folder / "model")
    sd = np.stack([temporal_sd(one.values()) for one in cleaned])
    reference = fit_reference(sd, ("bold",), [one.facts.mean_fd_mm for one in cleaned])
    build = partial(build_sd_network, window_volumes=WINDOW)
    description = describe_builder(build, preparation.input_shape)
    network = build(preparation.input_shape)
    _write_run_folder(folder, images, network, description, reference, (), ("bold",))
    return _exported(folder, trusted_packages=["sd_network"])


@pytest.fixture(scope="session")
def maps_export(bold_tree, bold_grid, tmp_path_factory):
    """Export a network that reads maps made of runs."""
    folder = tmp_path_factory.mktemp("maps") / "run"
    (folder / "model").mkdir(parents=True)
    images = sorted(bold_tree.rglob("*_bold.nii.gz"))
    recipe = AcquiredBold(CleanedBold(bold_grid, CLEANING))
    store = ArrayStore(folder.parent / "store", recipe)
    sources = [store.add(describe_run(image, SPACE)) for image in images]
    values = np.stack([compute_maps([source], parse_maps(MAPS)) for source in sources])
    settings = PreparationSettings(voxel_size_mm=12, fwhm_mm=0.0)
    preparation = fit_preparation(values, bold_grid, MAPS, settings)
    preparation.write(folder / "model")
    motion = [source.nuisance.mean_fd_mm for source in sources]
    reference = fit_reference(values, MAPS, motion)
    build = partial(build_small_cnn, channels=[3])
    description = describe_builder(build, preparation.input_shape)
    network = build(preparation.input_shape).eval()
    _write_run_folder(folder, images, network, description, reference, MAPS, MAPS)
    return _exported(folder)
