import json
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from fmnet.errors import ExportError, RunError
from fmnet.export.export import export_run
from fmnet.export.run_scans import read_run_bold_scans, read_task
from fmnet.inference.model_card import model_card


@pytest.fixture(params=["series", "maps"])
def export(request):
    """What an export of either kind came to."""
    return request.getfixturevalue(f"{request.param}_export")


@pytest.fixture
def run(export, tmp_path):
    return shutil.copytree(export.run_dir, tmp_path / "run")


def repeat(run):
    return export_run(str(run), str(run.parent / "bundle"), trusted_packages=["sd_network"])


def test_all_forms_agree_on_runs_read_from_disk(export):
    assert export.agreement.n_scans == 3
    assert max(export.agreement.onnx, export.agreement.torch_export) <= 1e-4


def test_bundle_holds_its_contract(export):
    names = {path.name for path in export.bundle.folder.iterdir()}
    assert names >= {
        "MODEL_CARD.md", "SHA256SUMS", "bold.json", "calibration.json", "configs", "metadata.json",
        "model.onnx", "model.pt2", "preparation.json", "preparation.safetensors", "reference.json",
    }  # fmt: skip
    stated, contract = export.bundle.metadata["input"], export.bundle.contract
    assert stated["kind"] == ("maps" if contract.maps else "series")
    assert stated["t_r"] == contract.t_r == 2.0
    assert stated["bold"]["cleaning"]["strategy"] == "motion6"
    assert stated["task"] == export.bundle.task == "rest"


def test_network_of_series_takes_any_batch_and_length(series_export):
    for shape in ((1, 40, 7, 8, 9), (3, 61, 7, 8, 9)):
        images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        together = series_export.bundle.score(images)
        assert together.shape == shape[:1]
        alone = series_export.bundle.score(images[-1:])
        np.testing.assert_allclose(together[-1:], alone, atol=1e-4)


def test_cards_say_what_goes_in(series_export, maps_export):
    series, maps = (
        (export.bundle.folder / "MODEL_CARD.md").read_text()
        for export in (series_export, maps_export)
    )
    for card in (series, maps):
        assert "A preprocessed BOLD run of task rest in MNI152NLin2009cAsym space with" in card
        assert "by 0 mm" not in card
    assert "in windows of 40 volumes, whose scores are averaged" in series
    assert "reads maps that are made of all runs (temporal_sd, alff), not smoothed." in maps


@pytest.mark.parametrize(
    ("fwhm_mm", "inside", "words"),
    [
        (0.0, True, "voxels and smoothed inside the network."),
        (0.0, False, "voxels and not smoothed."),
        (6.0, False, "voxels and smoothed by 6 mm."),
        (6.0, True, "voxels and smoothed by 6 mm, and again inside the network."),
    ],
)
def test_card_says_where_maps_are_smoothed(bundle, fwhm_mm, inside, words):
    stated = bundle.metadata["input"] | {"fwhm_mm": fwhm_mm, "smooths_itself": inside}
    assert words in model_card(bundle.metadata | {"input": stated})


def test_network_that_reads_whole_runs_is_described(series_export):
    metadata = series_export.bundle.metadata
    stated = metadata["input"] | {"window_volumes": 0}
    card = model_card(metadata | {"input": stated}, series_export.bundle.contract)
    assert "the runs joined in time, all volumes at once." in card


def test_disagreement_is_refused(run):
    weights = load_file(run / "model" / "weights.safetensors")
    save_file({k: v * np.nan for k, v in weights.items()}, run / "model" / "weights.safetensors")
    with pytest.raises(ExportError, match="scores an example as nan"):
        repeat(run)
    assert [path.name for path in run.parent.iterdir()] == ["run"]


def test_runs_that_are_gone_are_named(run):
    table = run / "cohort.tsv"
    table.write_text(table.read_text().replace("/sub-03_", "/sub-gone_"))
    with pytest.raises(ExportError, match=r"sub-gone_.*found no such file"):
        repeat(run)


def test_run_without_its_contract_is_refused(series_export, tmp_path):
    run = shutil.copytree(series_export.run_dir, tmp_path / "run")
    (run / "model" / "bold.json").unlink()
    with pytest.raises(RunError, match=r"run/model: found no bold\.json"):
        repeat(run)


def test_several_tasks_are_none(run):
    table = run / "cohort.tsv"
    table.write_text(table.read_text().replace("sub-03_task-rest", "sub-03_task-pain"))
    assert read_task(run) == ""


def test_runs_of_a_scan_are_read_together(run, write_new_run, tmp_path):
    images = [write_new_run(tmp_path / "tree", run=str(number)) for number in (1, 2)]
    joined = " | ".join(map(str, images))
    header = "participant_id\tscan_id\tused\tfiles\tspace\n"
    (run / "cohort.tsv").write_text(f"{header}sub-01\tone\tyes\t{joined}\tMNI152NLin2009cAsym\n")
    (scan,) = read_run_bold_scans(run, 5)
    assert scan.name == "one"
    assert [one.bold.path for one in scan.runs] == images
    assert all(one.confounds for one in scan.runs)


def test_damaged_sidecar_is_named(run, write_new_run, tmp_path):
    image = write_new_run(tmp_path / "tree")
    image.with_name(image.name.replace(".nii.gz", ".json")).write_text("[]")
    header = "participant_id\tscan_id\tused\tfiles\tspace\n"
    (run / "cohort.tsv").write_text(f"{header}sub-01\tone\tyes\t{image}\tMNI152NLin2009cAsym\n")
    with pytest.raises(ExportError, match="a sidecar that can't be read"):
        read_run_bold_scans(run, 5)


def test_reference_knows_the_motion_of_training(export):
    stated = json.loads((export.bundle.folder / "reference.json").read_text())
    assert stated["mean_fd_high_mm"] == pytest.approx(0.1)
