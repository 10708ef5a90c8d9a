import hashlib
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from bold_bundle_fixtures import CLEANING, N_VOLUMES, SPACE, WINDOW
from sd_network import build_sd_network

from fmnet.bold.cleaned import CleanedBold
from fmnet.data.store import ArrayStore
from fmnet.errors import BundleError, Fault, VolumeError
from fmnet.inference.bold import NewBoldScan, Stated, describe_run, predict_run, read_scan
from fmnet.inference.bundle import read_bundle
from fmnet.inference.bundle_files import write_hashes
from fmnet.inference.cli import main
from fmnet.inference.gates import Gates
from fmnet.inference.predict import NewScan, Request, predict_scan
from fmnet.inference.run_gates import RunGates
from fmnet.inference.training_scans import salt_hashes


@pytest.fixture(params=["series", "maps"])
def bold_bundle(request):
    """Either bundle that reads BOLD."""
    return request.getfixturevalue(f"{request.param}_export").bundle


@pytest.fixture
def image(bold_tree):
    return next(bold_tree.rglob("sub-02*_bold.nii.gz"))


def scan_of(*images, space=SPACE):
    return NewBoldScan("new", tuple(describe_run(image, space) for image in images))


def test_scores_a_run_of_the_training_set(bold_bundle, image):
    result = predict_run(bold_bundle, scan_of(image))
    assert result.status == "ok", result.reason
    assert 0 < result.probability < 1


def test_without_nilearn_it_says_how_to_install_it(
    bold_bundle, image, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "nilearn", None)  # as in a Python that lacks it
    result = predict_run(bold_bundle, scan_of(image))
    assert (result.status, result.score) == ("error", None)
    assert "no nilearn" in result.reason
    out = tmp_path / "scores.tsv"
    assert main([str(bold_bundle.folder), str(image), "--out", str(out)]) == 2
    assert "pip install 'fmnet[bold]'" in capsys.readouterr().err
    assert not out.exists()


def test_series_is_scored_window_by_window_as_in_training(series_export, image, tmp_path):
    bundle, run = series_export.bundle, describe_run(image, SPACE)
    store = ArrayStore(tmp_path, CleanedBold(bundle.preparation.grid, CLEANING))
    images = bundle.preparation.images(store.add(run).values())
    network = build_sd_network((WINDOW, 7, 8, 9), WINDOW)
    starts = [0, 30, N_VOLUMES - WINDOW]
    windows = np.stack([images[start : start + WINDOW] for start in starts])
    with torch.no_grad():
        expected = network(torch.from_numpy(windows)).mean().item()
    assert predict_run(bundle, scan_of(image)).score == pytest.approx(expected, abs=1e-4)


def test_nothing_is_left_in_the_temporary_folder(series_export, image, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert predict_run(series_export.bundle, scan_of(image)).status == "ok"
    assert not list(tmp_path.iterdir())


def test_runs_of_a_session_are_joined_in_time(series_export, write_new_run, tmp_path):
    runs = [write_new_run(tmp_path, run=str(number), seed=number) for number in (1, 2)]
    bundle = series_export.bundle
    one, other, both = (
        read_scan(bundle, scan_of(*some)).values for some in (runs[:1], runs[1:], runs)
    )
    assert np.array_equal(both, np.concatenate([one, other]))
    assert predict_run(bundle, scan_of(*runs)).status == "ok"


def test_maps_are_made_of_all_runs_of_a_session(maps_export, write_new_run, tmp_path):
    runs = [write_new_run(tmp_path, run=str(number), seed=number) for number in (1, 2)]
    bundle = maps_export.bundle
    one, other, both = (
        read_scan(bundle, scan_of(*some)).values for some in (runs[:1], runs[1:], runs)
    )
    assert both.shape == one.shape
    assert (np.abs(both - one) > 1e-3).any()
    assert (np.abs(both - other) > 1e-3).any()


@pytest.mark.parametrize(
    ("changes", "space", "found"),
    [
        ({"task": "pain"}, SPACE, "a run of task 'pain'; accepted: 'rest'"),
        ({}, "MNI152NLin6Asym", f"space 'MNI152NLin6Asym'; accepted: '{SPACE}'"),
        ({}, "T1w", "space 'T1w'"),
    ],
)
def test_run_outside_the_contract_is_an_error(
    bold_bundle, write_new_run, tmp_path, changes, space, found
):
    result = predict_run(bold_bundle, scan_of(write_new_run(tmp_path, **changes), space=space))
    assert (result.status, result.score) == ("error", None)
    assert found in result.reason


def test_other_repetition_time_is_cannot_say_unless_it_is_forced(
    bold_bundle, write_new_run, tmp_path
):
    scan = scan_of(write_new_run(tmp_path, t_r=2.1))
    result = predict_run(bold_bundle, scan)
    assert (result.status, result.score) == ("cannot_say", None)
    assert "a repetition time of 2.1 s; accepted: 2 s" in result.reason
    (reading,) = [one for one in result.readings if one.gate == "repetition time"]
    assert (reading.value, reading.low, reading.unit) == (2.1, pytest.approx(1.98), "s")
    forced = predict_run(bold_bundle, scan, Request(is_forced=True))
    assert (forced.status, forced.gates_failed) == ("forced", ("repetition time",))
    assert np.isfinite(forced.score)


def test_shorter_run_than_any_of_training_is_cannot_say(bold_bundle, write_new_run, tmp_path):
    scan = scan_of(write_new_run(tmp_path))
    sizes = (len(bold_bundle.reference.contrasts), bold_bundle.preparation.grid.n_voxels)
    nothing = np.zeros(sizes, np.float32)
    usual = Gates(
        bold_bundle.preparation.grid, bold_bundle.reference.contrasts, (), 9, None, nothing,
        nothing, nothing, runs=RunGates(9, 40, 0.1, 0.1),
    )  # fmt: skip
    assert predict_run(replace(bold_bundle, gates=usual), scan).status == "ok"
    longer = replace(usual, runs=RunGates(9, 400, 0.1, 0.1))
    result = predict_run(replace(bold_bundle, gates=longer), scan)
    assert (result.status, result.gates_failed) == ("cannot_say", ("length of the run",))
    assert "the shortest training scan by 1.5" in result.reason


def test_run_of_training_is_marked(bold_bundle, image):
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    known = replace(bold_bundle, training_scans=salt_hashes([digest, "other"]))
    assert predict_run(known, scan_of(image)).is_of_training
    others = replace(bold_bundle, training_scans=salt_hashes(["other"]))
    assert not predict_run(others, scan_of(image)).is_of_training


def test_repetition_time_within_a_hundredth_is_taken(series_export, write_new_run, tmp_path):
    image = write_new_run(tmp_path, t_r=2.01)
    assert predict_run(series_export.bundle, scan_of(image)).status == "ok"


def with_header_t_r(image, t_r):
    """Write another repetition time into a header, as fMRIPrep 23.2 did."""
    nifti = nib.load(image)
    nifti.header.set_zooms((*nifti.header.get_zooms()[:3], t_r))
    nib.Nifti1Image(np.asarray(nifti.dataobj), nifti.affine, nifti.header).to_filename(image)
    return image


def test_header_of_one_second_is_nobodys_word(bold_bundle, write_new_run, tmp_path):
    image = write_new_run(tmp_path)
    expected = predict_run(bold_bundle, scan_of(image))
    assert expected.status == "ok"
    assert predict_run(bold_bundle, scan_of(with_header_t_r(image, 1.0))) == expected


def test_form_that_is_used_of_two_is_noted(bold_bundle, write_new_run, tmp_path):
    image = write_new_run(tmp_path)
    expected = predict_run(bold_bundle, scan_of(image))
    nifti = nib.load(image)
    scanner = nifti.affine.copy()
    scanner[:3, 3] += 20
    nifti.set_qform(scanner, code="scanner")
    nifti.set_sform(nifti.affine, code="mni")
    nib.save(nib.Nifti1Image(np.asarray(nifti.dataobj), None, nifti.header), image)
    result = predict_run(bold_bundle, scan_of(image))
    assert (result.status, result.score) == ("ok", expected.score)
    assert result.reason == f"{image}: sform (MNI) is used; it and qform (scanner) differ"


def test_stated_repetition_time_overrules_the_header(bold_bundle, write_new_run, tmp_path):
    image = write_new_run(tmp_path)
    expected = predict_run(bold_bundle, scan_of(image))
    with_header_t_r(image, 1.5)
    refused = predict_run(bold_bundle, scan_of(image))
    assert refused.status == "error"
    assert "a repetition time of 1.5 s in the header where 2 s is given" in refused.reason
    assert "or state the right one: --t-r SECONDS" in refused.reason
    stated = NewBoldScan("new", (describe_run(image, SPACE, Stated(t_r=2.0)),))
    result = predict_run(bold_bundle, stated)
    assert (result.status, result.score) == ("ok", expected.score)
    assert result.reason == (f"{image}: a repetition time of 2 s was stated, the header says 1.5 s")


@pytest.mark.parametrize(
    ("cell", "found"), [("0,12", "'0,12' in line 9"), ("-9999", "'-9999' in line 9")]
)
def test_confounds_that_are_no_numbers_are_named(bold_bundle, write_new_run, tmp_path, cell, found):
    image = write_new_run(tmp_path)
    path = next(tmp_path.rglob("*desc-confounds_timeseries.tsv"))
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    lines[8][0] = lines[8][6] = cell
    path.write_text("\n".join("\t".join(line) for line in lines))
    result = predict_run(bold_bundle, scan_of(image))
    assert (result.status, result.reason.count(found)) == ("error", 2)


def test_every_fault_of_every_run_is_named(series_export, write_new_run, tmp_path):
    runs = [write_new_run(tmp_path, run=str(number), t_r=3.0) for number in (1, 2)]
    scan = scan_of(*runs)
    bare = tuple(replace(run, confounds=None) for run in scan.runs)
    reason = predict_run(series_export.bundle, replace(scan, runs=bare)).reason
    assert reason.count("a repetition time of 3 s") == 2
    assert reason.count("found no confounds; accepted: fMRIPrep's desc-confounds") == 2


def test_same_run_twice_is_an_error(series_export, image):
    result = predict_run(series_export.bundle, scan_of(image, image))
    assert f"the same run twice: {image}" in result.reason


def test_no_run_is_an_error(series_export):
    assert "found no run" in predict_run(series_export.bundle, scan_of()).reason


def test_run_shorter_than_a_window_is_an_error(series_export, write_new_run, tmp_path):
    image = write_new_run(tmp_path, n_volumes=WINDOW - 1)
    result = predict_run(series_export.bundle, scan_of(image))
    assert result.status == "error"
    assert "39 volumes after cleaning; accepted: at least 40" in result.reason


def test_map_where_a_run_is_wanted_is_an_error(bold_bundle, tmp_path, write_map):
    result = predict_run(bold_bundle, scan_of(write_map(tmp_path / "map.nii.gz")))
    assert result.status == "error"
    assert "an image of shape (7, 8, 9); accepted: one 4-D NIfTI file of a BOLD" in result.reason


def test_files_of_maps_are_an_error_for_a_signature_of_bold(bold_bundle, tmp_path, write_map):
    result = predict_scan(bold_bundle, NewScan("map", (write_map(tmp_path / "map.nii.gz"),)))
    assert result.status == "error"
    assert "found maps; accepted: a preprocessed BOLD run of task rest in" in result.reason


def test_run_is_an_error_for_a_signature_of_maps(bundle, image):
    result = predict_run(bundle, scan_of(image))
    assert result.status == "error"
    assert "found a BOLD run, 4-D; accepted: 3-D maps: pressure, visual (z)" in result.reason
    result = predict_scan(bundle, NewScan("run", (image, image)))
    assert "found an image of shape (7, 8, 9, 100); accepted: one 3-D map" in result.reason


def test_more_motion_than_in_training_is_cannot_say(bold_bundle, write_new_run, tmp_path):
    near = write_new_run(tmp_path / "near", mean_fd_mm=0.14)
    assert predict_run(bold_bundle, scan_of(near)).status == "ok"
    far = predict_run(bold_bundle, scan_of(write_new_run(tmp_path / "far", mean_fd_mm=0.16)))
    assert (far.status, far.score) == ("cannot_say", None)
    assert "framewise displacement of 0.16 mm; accepted: at most 0.15 mm" in far.reason


def test_half_a_brain_is_cannot_say(bold_bundle, write_new_run, tmp_path):
    def cut(values):
        values[:, : values.shape[1] * 2 // 3] = 0
        return values

    result = predict_run(bold_bundle, scan_of(write_new_run(tmp_path, change=cut)))
    assert (result.status, result.score) == ("cannot_say", None)
    assert "of the mask; accepted: at least 50%" in result.reason
    assert "min_coverage" not in result.reason


@pytest.mark.parametrize("factor", [0.05, 20.0])
def test_other_amount_of_change_is_cannot_say(bold_bundle, write_new_run, tmp_path, factor):
    def change(values):
        return 1000 + (values - 1000) * factor

    result = predict_run(bold_bundle, scan_of(write_new_run(tmp_path, change=change)))
    assert (result.status, result.score) == ("cannot_say", None)
    assert "preprocessed as the training runs were" in result.reason


def test_run_that_can_not_be_cleaned_is_an_error(series_export, image, monkeypatch):
    def fail(*_):
        raise VolumeError(Fault("run", "nothing", "something", "look"))

    monkeypatch.setattr(ArrayStore, "add_all", fail)
    result = predict_run(series_export.bundle, scan_of(image))
    assert (result.status, result.reason) == (
        "error",
        "run: found nothing; accepted: something; to do: look.",
    )


# bundles -----------------------------------------------------------------------------------------


@pytest.fixture
def copy(bold_bundle, tmp_path):
    return shutil.copytree(bold_bundle.folder, tmp_path / "copy")


def spoil(folder, name, change):
    path = folder / name
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    write_hashes(folder)


def test_bundle_without_its_contract_is_refused(copy):
    (copy / "bold.json").unlink()
    with pytest.raises(BundleError, match=r"bold\.json missing"):
        read_bundle(copy)
    write_hashes(copy)
    with pytest.raises(BundleError, match=r"found no bold\.json"):
        read_bundle(copy)


def test_contract_of_the_other_kind_is_refused(copy, bold_bundle):
    maps = [] if bold_bundle.contract.maps else ["alff"]
    spoil(copy, "bold.json", lambda content: content | {"maps": maps})
    with pytest.raises(BundleError, match=r"bold\.json for maps \((none|alff)\), not"):
        read_bundle(copy)


@pytest.mark.parametrize(
    ("maps", "found"),
    [
        (["temporal_sd", "alf"], r"bold\.json with maps that this version doesn't know"),
        (["alff", "temporal_sd"], "for maps alff, temporal_sd, not temporal_sd, alff"),
    ],
)
def test_maps_that_do_not_fit_are_refused(maps_export, tmp_path, maps, found):
    copy = shutil.copytree(maps_export.bundle.folder, tmp_path / "copy")
    spoil(copy, "bold.json", lambda content: content | {"maps": maps})
    with pytest.raises(BundleError, match=found):
        read_bundle(copy)


def test_other_kind_in_the_metadata_is_refused(copy, bold_bundle):
    other = "series" if bold_bundle.contract.maps else "maps"

    def swap(content):
        return content | {"input": content["input"] | {"kind": other}}

    spoil(copy, "metadata.json", swap)
    with pytest.raises(BundleError, match=f"metadata.json for {other}, not "):
        read_bundle(copy)


def test_network_of_the_other_kind_is_refused(series_export, maps_export, tmp_path):
    copy = shutil.copytree(series_export.bundle.folder, tmp_path / "copy")
    shutil.copy(maps_export.bundle.folder / "model.onnx", copy)
    write_hashes(copy)
    with pytest.raises(BundleError, match=r"model\.onnx from \{'image': .* not from \('T', 7, 8"):
        read_bundle(copy)


def test_series_is_no_input_of_a_network_on_maps(maps_export):
    with pytest.raises(BundleError, match=r"where a series is given, .*: 30 of them"):
        maps_export.bundle.scores_of_scan(np.zeros((30, 9), np.float32))


@pytest.fixture
def run_image(write_new_run, tmp_path):
    return write_new_run(tmp_path / "raw" / "derivatives" / "fmriprep", session="a", run="2")


def test_files_are_found_by_name(run_image):
    run = describe_run(run_image, "MNI152")
    start = "sub-01_ses-a_task-rest_run-2"
    assert run.bold.run_id == start
    assert (run.bold.participant_id, run.task, run.session, run.run) == ("sub-01", "rest", "a", "2")
    assert run.bold.space == "MNI152"
    assert run.bold.t_r == 2.0
    assert run.bold.mask == run_image.with_name(f"{start}_space-{SPACE}_desc-brain_mask.nii.gz")
    assert run.confounds == run_image.with_name(f"{start}_desc-confounds_timeseries.tsv")
    assert run.events is None


def test_what_is_stated_overrules_what_is_found(run_image):
    stated = Stated(Path("mask.nii"), Path("own.tsv"), Path("events.tsv"), 1.5)
    run = describe_run(run_image, SPACE, stated)
    assert (run.bold.mask, run.confounds, run.events) == (
        stated.mask,
        stated.confounds,
        stated.events,
    )
    assert (run.bold.t_r, run.bold.is_t_r_certain) == (1.5, True)


def test_what_a_sidecar_states_has_to_agree_with_the_header(run_image):
    assert not describe_run(run_image, SPACE).bold.is_t_r_certain


@pytest.mark.parametrize("value", ['"0.5"', "NaN", "true", "1e9"])
def test_start_time_that_is_no_time_is_refused(run_image, value):
    path = run_image.with_name(run_image.name.replace(".nii.gz", ".json"))
    path.write_text(f'{{"RepetitionTime": 2, "StartTime": {value}}}')
    with pytest.raises(VolumeError, match=r"desc-preproc_bold\.json: found StartTime .*a number"):
        describe_run(run_image, SPACE)


def test_stated_repetition_time_cures_a_damaged_sidecar(run_image):
    run_image.with_name(run_image.name.replace(".nii.gz", ".json")).write_text("{")
    with pytest.raises(VolumeError, match=r"desc-preproc_bold\.json: found a sidecar that can't"):
        describe_run(run_image, SPACE)
    assert describe_run(run_image, SPACE, Stated(t_r=2.0)).bold.t_r == 2.0


def test_sidecar_without_repetition_time_is_refused(run_image):
    run_image.with_name(run_image.name.replace(".nii.gz", ".json")).write_text("{}")
    with pytest.raises(VolumeError, match=r"no RepetitionTime; .* or state it with --t-r"):
        describe_run(run_image, SPACE)


def test_events_of_the_raw_data_set_are_found(run_image, tmp_path):
    raw = tmp_path / "raw"
    (raw / "dataset_description.json").write_text(json.dumps({"Name": "raw"}))
    folder = raw / "sub-01" / "ses-a" / "func"
    folder.mkdir(parents=True)
    events = folder / "sub-01_ses-a_task-rest_run-2_events.tsv"
    events.write_text("onset\tduration\ttrial_type\n0\t1\tpain\n")
    assert describe_run(run_image, SPACE).events == events


def test_files_may_lie_outside_any_data_set(run_image, tmp_path):
    flat = tmp_path / "flat"
    shutil.copytree(run_image.parent, flat)
    run = describe_run(flat / run_image.name, SPACE)
    assert run.confounds.parent == run.bold.mask.parent == flat
    assert run.bold.t_r == 2.0


def test_image_of_another_name_stands_alone(tmp_path):
    (tmp_path / "rest_bold.json").write_text('{"RepetitionTime": 3.0}')
    run = describe_run(tmp_path / "rest_bold.nii.gz", SPACE, Stated(confounds=Path("a.tsv")))
    assert run.bold.run_id == run.bold.participant_id == "rest_bold"
    assert (run.bold.mask, run.bold.t_r, run.confounds) == (None, None, Path("a.tsv"))


@pytest.fixture
def run_of_pain(write_new_run, tmp_path):
    """A run whose events and sidecar lie in a raw data set that is not around it."""
    run_image = write_new_run(tmp_path / "derivatives", task="pain")
    raw = tmp_path / "elsewhere" / "sub-01" / "func"
    raw.mkdir(parents=True)
    (raw / "sub-01_task-pain_events.tsv").write_text("onset\tduration\n1\t2\n")
    (raw / "sub-01_task-pain_bold.json").write_text(json.dumps({"RepetitionTime": 2.0}))
    run_image.with_name(run_image.name.replace(".nii.gz", ".json")).unlink()
    return run_image


def test_files_of_a_raw_data_set_elsewhere_are_found_where_it_is_named(run_of_pain, tmp_path):
    alone = describe_run(run_of_pain, SPACE)
    assert (alone.events, alone.bold.t_r) == (None, None)
    named = describe_run(run_of_pain, SPACE, raw=tmp_path / "elsewhere")
    assert named.events.name == "sub-01_task-pain_events.tsv"
    assert named.bold.t_r == 2.0
    assert named.confounds == alone.confounds is not None


def test_raw_data_set_around_the_derivatives_is_found(run_of_pain, tmp_path):
    raw = tmp_path / "raw"
    shutil.copytree(tmp_path / "elsewhere", raw)
    (raw / "dataset_description.json").write_text('{"DatasetType": "raw"}')
    shutil.move(tmp_path / "derivatives", raw / "derivatives")
    run_image = next((raw / "derivatives").rglob("*_bold.nii.gz"))
    assert describe_run(run_image, SPACE).events.is_relative_to(raw / "sub-01")
