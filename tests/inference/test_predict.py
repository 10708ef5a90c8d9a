from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from fmnet.errors import ConfigError, Fault, VolumeError
from fmnet.inference.predict import (
    NewScan,
    Prediction,
    Request,
    predict_scan,
    predict_with_values,
    predictions_table,
    scored,
)
from fmnet.inference.quality import Reading
from fmnet.inference.sets import promised_level
from fmnet.inference.training_scans import salt_hashes


@pytest.fixture
def person(finished):
    return finished.listing.scans[3]


@pytest.fixture
def unremarked(bundle):
    """The signature, as if its study had found nothing in red."""
    evidence = bundle.metadata["evidence"] | {"red": []}
    return replace(bundle, metadata=bundle.metadata | {"evidence": evidence})


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
    assert list(table)[:3] == ["scan", "score", "probability"]
    assert list(table)[6:] == ["status", "gates_failed", "in_training", "reason"]
    assert set(table["status"]) == {"ok"}
    is_told = table["set"] != "neither"
    assert table["probability"].notna().equals(is_told)
    assert table["probability"][is_told].between(0, 1).all()
    order = table[is_told].sort_values("score")["probability"]
    assert order.is_monotonic_increasing


def test_flipping_data_and_affine_together_changes_nothing(bundle, person, tmp_path):
    files = changed(person.files, tmp_path, flip_both)
    flipped = predict_scan(bundle, NewScan("flipped", files), Request(is_forced=True))
    original = predict_scan(bundle, NewScan("original", person.files))
    assert flipped.score == original.score


def test_flipping_data_alone_changes_the_score(bundle, person, tmp_path):
    files = changed(person.files, tmp_path, lambda data, affine: (data[::-1].copy(), affine))
    flipped = predict_scan(bundle, NewScan("flipped", files), Request(is_forced=True))
    original = predict_scan(bundle, NewScan("original", person.files))
    assert abs(flipped.score - original.score) > 1e-3


def test_contrasts_in_another_order_change_the_score(bundle, person):
    original = predict_scan(bundle, NewScan("original", person.files))
    swapped = predict_scan(bundle, NewScan("swapped", person.files[::-1]))
    assert abs(original.score - swapped.score) > 1e-3


def written(files, folder, change):
    """Write each map anew after `change(image)`."""
    paths = []
    for file in files:
        image = nib.load(file)
        paths.append(folder / f"written_{file.name}")
        nib.save(change(image) or image, paths[-1])
    return tuple(paths)


def to_micron(image):
    image = nib.Nifti1Image(image.dataobj, np.diag([1e3, 1e3, 1e3, 1]) @ image.affine)
    image.header.set_xyzt_units("micron")
    return image


def test_the_unit_of_the_header_changes_no_score(bundle, person, tmp_path):
    original = predict_scan(bundle, NewScan("original", person.files))
    micron = predict_scan(bundle, NewScan("micron", written(person.files, tmp_path, to_micron)))
    assert micron.score == original.score


def turn_qform(image, codes):
    image.set_sform(image.affine, codes[0])
    image.set_qform(np.diag([-1.0, 1, -1, 1]) @ image.affine, codes[1])


def test_left_and_right_never_swap_unsaid(bundle, person, tmp_path):
    files = written(person.files, tmp_path, lambda image: turn_qform(image, (1, 1)))
    same_codes = predict_scan(bundle, NewScan("same", files))
    assert same_codes.status == "error"
    assert "found sform and qform that swap left and right" in same_codes.reason
    files = written(person.files, tmp_path, lambda image: turn_qform(image, (4, 1)))
    other_codes = predict_scan(bundle, NewScan("other", files))
    assert other_codes.score == predict_scan(bundle, NewScan("original", person.files)).score
    note = "sform (MNI) is used; it and qform (scanner) disagree about left and right"
    assert other_codes.reason.count(note) == 1


def test_too_few_maps_are_an_error_that_names_the_contrasts(bundle, person):
    result = predict_scan(bundle, NewScan("single", person.files[:1]))
    assert (result.status, result.score, result.probability) == ("error", None, None)
    assert "found 1 map; accepted: 2: pressure, visual" in result.reason


def test_missing_file_is_an_error(bundle, person):
    result = predict_scan(bundle, NewScan("gone", (person.files[0], Path("gone.nii.gz"))))
    assert result.status == "error"
    assert "gone.nii.gz: found no such file" in result.reason


def test_other_space_is_an_error(bundle, person):
    contract = bundle.metadata["input"] | {"space": "MNI152NLin2009cAsym"}
    other = replace(bundle, metadata=bundle.metadata | {"input": contract})
    result = predict_scan(other, NewScan("a", person.files, "MNI152NLin6Asym"))
    assert result.status == "error"
    assert "space 'MNI152NLin6Asym'; accepted: 'MNI152NLin2009cAsym'" in result.reason
    native = predict_scan(bundle, NewScan("a", person.files, "T1w"))
    assert "found space 'T1w'" in native.reason


def test_other_unit_is_cannot_say(bundle, person, tmp_path):
    files = changed(person.files, tmp_path, lambda data, affine: (data * 1e4, affine))
    result = predict_scan(bundle, NewScan("scaled", files))
    assert (result.status, result.score) == ("cannot_say", None)
    assert "same statistic and unit" in result.reason


def rewritten(files, folder, intent="none", dtype=np.float32, change=lambda data: data, names=None):
    """Write each map with another intent, type or content."""
    names = [f"changed_{file.name}" for file in files] if names is None else names
    for file, name in zip(files, names, strict=True):
        image = nib.load(file)
        new = nib.Nifti1Image(change(image.get_fdata(dtype=np.float32)), image.affine)
        new.header.set_intent(intent)
        new.set_data_dtype(dtype)
        nib.save(new, folder / name)
    return tuple(folder / name for name in names)


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint8])
@pytest.mark.parametrize("background", [0, 1e-6, np.nan])
def test_part_of_a_brain_is_cannot_say_however_it_is_written(
    bundle, person, tmp_path, dtype, background
):
    def cut(data):
        data[: data.shape[0] * 2 // 3] = 0
        return np.where(data == 0, np.float32(background), data)

    if dtype != np.float32 and np.isnan(background):
        pytest.skip("integers have no NaN")
    files = rewritten(person.files, tmp_path, dtype=dtype, change=cut)
    result = predict_scan(bundle, NewScan("cut", files))
    assert result.status == "cannot_say"
    assert "of the mask" in result.reason


@pytest.mark.parametrize(("dtype", "error"), [(np.int16, 0.01), (np.uint8, 0.2)])
def test_map_of_integers_scores_as_the_map(bundle, person, tmp_path, dtype, error):
    original = predict_scan(bundle, NewScan("original", person.files))
    files = rewritten(person.files, tmp_path, dtype=dtype)
    found = predict_scan(bundle, NewScan("integers", files))
    assert found.score == pytest.approx(original.score, abs=error)


def test_number_outside_of_the_brain_is_an_error(bundle, person, tmp_path):
    def fill(data):
        return np.where(data == 0, np.float32(-1), data)

    files = rewritten(person.files, tmp_path, change=fill)
    result = predict_scan(bundle, NewScan("filled", files))
    assert result.status == "error"
    assert "found the value -1 in" in result.reason


def test_a_spike_is_an_error(bundle, person, tmp_path):
    def spoil(data):
        data[tuple(np.array(data.shape) // 2)] = 1e5
        return data

    result = predict_scan(bundle, NewScan("a", rewritten(person.files, tmp_path, change=spoil)))
    assert result.status == "error"
    assert result.reason.count("found a spike: 100000 at voxel (") == 2


@pytest.mark.parametrize(
    ("intent", "words"),
    [
        ("p value", "p values"),
        ("log10 p value", "logarithms of p values"),
        ("label", "labels"),
        ("vector", "vectors"),
        ("t test", "t values"),
        ("f test", "F values"),
        ("estimate", "estimates"),
    ],
)
def test_another_intent_is_an_error(bundle, person, tmp_path, intent, words):
    result = predict_scan(bundle, NewScan("a", rewritten(person.files, tmp_path, intent)))
    assert (result.status, result.score) == ("error", None)
    assert f"found a map whose header says {words}" in result.reason
    assert "accepted: 'z'" in result.reason


def test_p_values_said_to_be_z_are_an_error(bundle, person, tmp_path):
    files = rewritten(
        person.files, tmp_path, "z score", change=lambda data: np.exp(-np.abs(data)) * (data != 0)
    )
    result = predict_scan(bundle, NewScan("a", files))
    assert (result.status, result.score) == ("error", None)
    assert "values from 0 to 1 alone, as p values" in result.reason


def test_name_and_intent_that_disagree_are_an_error(bundle, person, tmp_path):
    unsaid = bundle.metadata["input"] | {"stat": "n/a"}
    other = replace(bundle, metadata=bundle.metadata | {"input": unsaid})
    files = rewritten(person.files, tmp_path, "t test")
    assert "stat-z" in files[0].name
    result = predict_scan(other, NewScan("a", files))
    assert result.status == "error"
    assert "header says t values (intent code or description); accepted: 'z'" in result.reason


@pytest.mark.parametrize(
    ("names", "intent", "note"),
    [
        (("a.nii", "b.nii"), "none", "contrast and statistic are not stated"),
        (("a.nii", "b.nii"), "z score", "contrast is not stated"),
        (("contrast-pressure.nii", "contrast-visual.nii"), "none", "statistic is not stated"),
        (("contrast-pressure.nii", "contrast-visual.nii"), "z score", ""),
        (("contrast-pressure_stat-zstat.nii", "b_stat-z.nii"), "none", "contrast is not stated"),
    ],
)
def test_what_nobody_states_is_noted_with_the_score(
    unremarked, person, tmp_path, names, intent, note
):
    original = predict_scan(unremarked, NewScan("original", person.files))
    assert original.reason == ""
    found = predict_scan(
        unremarked, NewScan("a", rewritten(person.files, tmp_path, intent, names=names))
    )
    assert (found.status, found.score) == ("ok", original.score)
    assert found.reason == note


def test_contrast_that_a_table_states_is_stated(unremarked, person, tmp_path):
    files = rewritten(person.files, tmp_path, "z score", names=("a.nii", "b.nii"))
    assert predict_scan(unremarked, NewScan("a", files, says_contrast=True)).reason == ""


def test_half_a_brain_is_cannot_say(bundle, person, tmp_path):
    def cut(data, affine):
        data[: data.shape[0] * 2 // 3] = np.nan
        return data, affine

    result = predict_scan(bundle, NewScan("cut", changed(person.files, tmp_path, cut)))
    assert result.status == "cannot_say"
    assert "of the mask" in result.reason
    assert "preparation." not in result.reason


def test_same_map_under_two_names_is_an_error(bundle, person, tmp_path):
    (copy,) = changed(person.files[:1], tmp_path, lambda data, affine: (data, affine))
    result = predict_scan(bundle, NewScan("twice", (person.files[0], copy)))
    assert result.status == "error"
    assert f"the same map twice: {person.files[0]} and {copy}" in result.reason


@pytest.mark.parametrize(("value", "found"), [(np.inf, "1 infinite"), (1e9, "values as large as")])
def test_values_that_no_map_has_are_an_error(bundle, person, tmp_path, value, found):
    def spoil(data, affine):
        data[tuple(np.array(data.shape) // 2)] = value
        return data, affine

    result = predict_scan(bundle, NewScan("bad", changed(person.files, tmp_path, spoil)))
    assert result.status == "error"
    assert found in result.reason


def test_a_map_that_fails_a_gate_has_no_score_unless_it_is_forced(bundle, person, tmp_path):
    files = changed(person.files, tmp_path, lambda data, affine: (data * 50, affine))
    scan = NewScan("large", files)
    result, values = predict_with_values(bundle, scan)
    assert result.status == "cannot_say"
    assert result.score is None
    assert "scale of pressure" in result.gates_failed
    assert "found values that are too large" in result.reason
    assert values.shape == (2, bundle.preparation.grid.n_voxels)
    forced = predict_scan(bundle, scan, Request(is_forced=True))
    assert forced.status == "forced"
    assert np.isfinite(forced.score)
    assert set(result.gates_failed) <= set(forced.gates_failed)  # features come with the score
    assert forced.reason.startswith(result.reason.rstrip("."))


def test_bundles_without_gates_look_at_the_scale(bundle, person, tmp_path):
    earlier = replace(bundle, gates=None)
    scan = NewScan("same", person.files)
    assert predict_scan(earlier, scan).status == "ok"
    files = changed(person.files, tmp_path, lambda data, affine: (data * 50, affine))
    result = predict_scan(earlier, NewScan("large", files))
    assert result.gates_failed == ("scale of pressure", "scale of visual")


def test_score_has_a_set_and_a_probability_with_an_interval_at_the_prevalence(bundle):
    score = float(bundle.unseen.positive[-3])
    common, rare = (
        scored(bundle, "one", score, request=Request(prevalence=rate)) for rate in (0.5, 0.05)
    )
    assert rare.probability < common.probability
    for found in (common, rare):
        low, high = found.interval
        assert 0 <= low <= found.probability <= high <= 1
        assert found.groups == ("FM",)  # whatever the prevalence
    assert scored(bundle, "other", float(bundle.unseen.negative[2])).groups == ("HC",)
    assert scored(bundle, "far", 1e5).groups == ()


def test_level_that_twelve_people_can_not_promise_is_lowered(bundle):
    middle = (bundle.unseen.positive[0] + bundle.unseen.negative[-1]) / 2
    scores = [*bundle.unseen.positive, *bundle.unseen.negative, middle]
    most, more = (
        [scored(bundle, "one", score, request=Request(level=level)).groups for score in scores]
        for level in (promised_level(12), 0.999)
    )
    assert most == more


def test_bundles_of_before_give_probabilities_alone(bundle):
    earlier = replace(bundle, unseen=None)
    found = scored(earlier, "one", 0.5, request=Request(prevalence=0.1))
    assert (
        found.probability == scored(bundle, "one", 0.5, request=Request(prevalence=0.1)).probability
    )
    assert found.interval is None
    assert found.groups is None


def test_images_whose_box_ends_within_the_brain_are_told_apart(bundle, person, tmp_path):
    half = changed(person.files, tmp_path, lambda data, affine: (data[:, :, 9:].copy(), affine))
    result = predict_scan(bundle, NewScan("cut", half))
    assert result.gates_failed[0] == "field of view"
    assert "found images whose boxes reach" in result.reason
    assert "field of view" not in predict_scan(bundle, NewScan("whole", person.files)).gates_failed


def test_a_scan_of_training_is_marked_whatever_its_file_is_called(bundle, person, tmp_path):
    assert predict_scan(bundle, NewScan("same", person.files)).is_of_training
    copied = changed(person.files, tmp_path, lambda data, affine: (data, affine))
    (tmp_path / "other").mkdir()
    packed = tuple(tmp_path / "other" / f"{file.stem.split('.')[0]}_x.nii.gz" for file in copied)
    for file, target in zip(copied, packed, strict=True):
        nib.save(nib.load(file), target)
    assert predict_scan(bundle, NewScan("again", packed)).is_of_training
    other = changed(person.files, tmp_path, lambda data, affine: (data * 1.001, affine))
    assert not predict_scan(bundle, NewScan("other", other)).is_of_training
    earlier = replace(bundle, training_scans=None)
    assert not predict_scan(earlier, NewScan("same", person.files)).is_of_training


def test_features_unlike_those_of_training_are_the_last_gate(bundle, person):
    scan = NewScan("same", person.files)
    usual = predict_scan(bundle, scan)
    assert usual.readings[-1].gate == "network features"
    assert usual.readings[-1].value <= usual.readings[-1].high
    strict = replace(bundle.gates, features=replace(bundle.gates.features, high=0.01))
    result = predict_scan(replace(bundle, gates=strict), scan)
    assert (result.status, result.gates_failed) == ("cannot_say", ("network features",))
    forced = predict_scan(replace(bundle, gates=strict), scan, Request(is_forced=True))
    assert (forced.status, forced.score) == ("forced", usual.score)


@pytest.mark.parametrize(
    "asked",
    [
        {"prevalence": 10}, {"prevalence": 0.0}, {"prevalence": float("nan")},
        {"prevalence": "0.1"}, {"level": None}, {"level": 1.0}, {"is_forced": "no"},
    ],
)  # fmt: skip
def test_what_is_asked_is_checked_at_once(asked):
    with pytest.raises(ConfigError, match=f"{next(iter(asked))}: found"):
        Request(**asked)


def test_map_that_is_gone_before_it_is_hashed_is_a_row(bundle, person, monkeypatch):
    def gone(path):
        raise VolumeError(Fault(str(path), "no file", "a file", "look for it"))

    monkeypatch.setattr("fmnet.inference.predict.read_raw", gone)
    known = replace(bundle, training_scans=salt_hashes(["0" * 64]))
    result = predict_scan(known, NewScan("gone", person.files))
    assert (result.status, result.score) == ("error", None)


def test_a_gate_that_several_runs_fail_is_named_once():
    fault = Fault("run", "a mean framewise displacement of 2 mm", "less", "use another run")
    readings = (Reading("head motion", 2.0, fault=fault), Reading("head motion", 2.0, fault=fault))
    found = Prediction("scan", None, None, "cannot_say", readings=readings)
    assert found.gates_failed == ("head motion",)
