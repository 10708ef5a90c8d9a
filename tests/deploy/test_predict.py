import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from fmnet.deploy.predict import NewScan, find_new_scans, predict_scan, predictions_table


@pytest.fixture
def person(finished):
    return finished.listing.scans[3]


def changed(files, folder, change):
    """Write each map anew after `change(data, affine)`."""
    paths = []
    for file in files:
        image = nib.load(file)
        data, affine = change(image.get_fdata(dtype=np.float32), image.affine)
        paths.append(folder / f"changed_{file.name}")
        nib.save(nib.Nifti1Image(data, affine), paths[-1])
    return tuple(paths)


def flip_both(data, affine):
    turn = np.diag([-1.0, 1, 1, 1])
    turn[0, 3] = data.shape[0] - 1
    return data[::-1].copy(), affine @ turn


def test_scores_lie_on_the_scale_of_probability(bundle, finished):
    scans = [NewScan(scan.scan_id, scan.files) for scan in finished.listing.scans]
    table = predictions_table([predict_scan(bundle, scan) for scan in scans])
    assert list(table) == ["scan", "score", "probability", "status", "reason"]
    assert set(table["status"]) == {"ok"}
    assert table["probability"].between(0, 1).all()
    order = table.sort_values("score")["probability"]
    assert order.is_monotonic_increasing


def test_flipping_data_and_affine_together_changes_nothing(bundle, person, tmp_path):
    files = changed(person.files, tmp_path, flip_both)
    flipped = predict_scan(bundle, NewScan("flipped", files))
    original = predict_scan(bundle, NewScan("original", person.files))
    assert flipped.score == original.score


def test_flipping_data_alone_changes_the_score(bundle, person, tmp_path):
    files = changed(person.files, tmp_path, lambda data, affine: (data[::-1].copy(), affine))
    flipped = predict_scan(bundle, NewScan("flipped", files))
    original = predict_scan(bundle, NewScan("original", person.files))
    assert abs(flipped.score - original.score) > 1e-3


def test_contrasts_in_another_order_change_the_score(bundle, person):
    original = predict_scan(bundle, NewScan("original", person.files))
    swapped = predict_scan(bundle, NewScan("swapped", person.files[::-1]))
    assert abs(original.score - swapped.score) > 1e-3


def test_too_few_maps_are_an_error_that_names_the_contrasts(bundle, person):
    result = predict_scan(bundle, NewScan("single", person.files[:1]))
    assert (result.status, result.score, result.probability) == ("error", None, None)
    assert "found 1 maps; accepted: 2: pressure, visual" in result.reason


def test_missing_file_is_an_error(bundle, person):
    result = predict_scan(bundle, NewScan("gone", (person.files[0], Path("gone.nii.gz"))))
    assert result.status == "error"
    assert "gone.nii.gz: found no such file" in result.reason


def test_other_space_is_an_error(bundle, person):
    stated = replace(bundle.preparation.grid, space="MNI152NLin2009cAsym")
    strict = replace(bundle, preparation=replace(bundle.preparation, grid=stated))
    result = predict_scan(strict, NewScan("a", person.files, "MNI152NLin6Asym"))
    assert result.status == "error"
    assert "space 'MNI152NLin6Asym'; accepted: 'MNI152NLin2009cAsym'" in result.reason
    native = predict_scan(bundle, NewScan("a", person.files, "T1w"))
    assert "found space 'T1w'" in native.reason


def test_other_unit_is_cannot_say(bundle, person, tmp_path):
    files = changed(person.files, tmp_path, lambda data, affine: (data * 1e4, affine))
    result = predict_scan(bundle, NewScan("scaled", files))
    assert (result.status, result.score) == ("cannot_say", None)
    assert "same statistic and unit" in result.reason


def test_half_a_brain_is_cannot_say(bundle, person, tmp_path):
    def cut(data, affine):
        data[: data.shape[0] * 2 // 3] = np.nan
        return data, affine

    result = predict_scan(bundle, NewScan("cut", changed(person.files, tmp_path, cut)))
    assert result.status == "cannot_say"
    assert "of the mask" in result.reason


def test_finds_comma_joined_maps_and_their_space(bundle, person):
    (scan,), faults = find_new_scans(",".join(map(str, person.files)), bundle)
    assert scan.files == person.files
    assert scan.space == "MNI152NLin2009aSym"
    assert not faults


def test_finds_people_of_a_bids_folder_and_names_incomplete_ones(bundle, finished, tmp_path):
    root = Path(finished.listing.scans[0].files[0]).parents[2]
    copy = shutil.copytree(root, tmp_path / "tree")
    lost = next(copy.glob("sub-*/func/*contrast-visual*"))
    lost.unlink()
    scans, faults = find_new_scans(str(copy), bundle)
    assert len(scans) == len(finished.listing.scans) - 1
    assert [fault.status for fault in faults] == ["error"]
    assert "0 of 'visual'" in faults[0].reason


def test_finds_people_of_a_table(bundle, finished, tmp_path):
    table = tmp_path / "new.tsv"
    rows = [
        f"{scan.participant_id}\t{contrast}\t{file}\n"
        for scan in finished.listing.scans[:3]
        for contrast, file in zip(finished.listing.contrasts, scan.files, strict=True)
    ]
    table.write_text("participant_id\tcontrast\tpath\n" + "".join(rows))
    scans, faults = find_new_scans(str(table), bundle)
    assert [scan.name for scan in scans] == [
        s.scan_id.split("_")[0] for s in finished.listing.scans[:3]
    ]
    assert not faults
    assert predict_scan(bundle, scans[0]).status == "ok"
