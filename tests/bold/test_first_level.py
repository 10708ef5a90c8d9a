"""First-level models and contrasts, beside nilearn's `FirstLevelModel` on the same images."""

import warnings

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from map_fixtures import make_source, noise, open_source
from nilearn.glm.contrasts import expression_to_contrast_vector
from nilearn.glm.first_level import FirstLevelModel

from fmnet.bold import first_level
from fmnet.bold.first_level import build_design, condition_name, fit_run, read_events
from fmnet.bold.maps import compute_maps, parse_maps
from fmnet.bold.settings import parse_formula
from fmnet.errors import VolumeError

T_R, N = 2.0, 90
EVENTS = [
    {"onset": onset, "duration": 12.0, "trial_type": name}
    for onset, name in [
        (6, "face"), (36, "house"), (66, "cat"), (96, "face"), (126, "house"), (156, "cat")
    ]
]  # fmt: skip


@pytest.fixture
def events(tmp_path, write_tsv):
    return write_tsv(tmp_path / "events.tsv", EVENTS)


@pytest.fixture
def values(rng, grid):
    """Noise, and faces in voxels on the right side."""
    whole = noise(rng, grid, N)
    on = ((np.arange(N) * T_R) % 90 >= 10) & ((np.arange(N) * T_R) % 90 < 22)
    right = np.argwhere(grid.mask)[:, 0] > 3
    whole[np.ix_(on, right)] += 30
    return whole


def by_nilearn(grid, runs, formula, events, regressors=None, kept=None):
    """Compute z maps, (V,), of several runs, (T, V) each."""
    mask = nib.Nifti1Image(grid.mask.astype(np.int8), grid.affine)
    images = [
        nib.Nifti1Image(np.moveaxis(grid.unmask(run.astype(np.float32)), 0, -1), grid.affine)
        for run in runs
    ]
    model = FirstLevelModel(
        T_R, mask_img=mask, smoothing_fwhm=None, high_pass=first_level.DRIFT_HZ,
        hrf_model="glover", drift_model="cosine", noise_model="ar1", signal_scaling=0,
        minimize_memory=True,
    )  # fmt: skip
    tables = [pd.read_csv(events, sep="\t")] * len(runs)
    confounds = None if regressors is None else [pd.DataFrame(regressors)] * len(runs)
    masks = None if kept is None else [kept] * len(runs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(images, tables, confounds, sample_masks=masks)
        z = model.compute_contrast(formula, output_type="z_score")
    return z.get_fdata()[grid.mask]


def compute(sources, formula):
    return compute_maps(sources, parse_maps([f"contrast:own={formula}"]))[0]


@pytest.mark.parametrize("formula", ["face", "face - house", "face - (house + cat) / 2"])
def test_z_is_that_of_nilearn(grid, values, events, formula):
    found = compute([make_source(grid, values, events=events)], formula)
    expected = by_nilearn(grid, [values], formula, events)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_effect_is_where_it_was_put(grid, values, events):
    z = compute([make_source(grid, values, events=events)], "face - house")
    right = np.argwhere(grid.mask)[:, 0] > 3
    assert z[right].mean() > 2
    assert abs(z[~right].mean()) < 0.5


def test_nuisance_and_missing_volumes_as_in_nilearn(rng, grid, values, events):
    regressors = np.column_stack([np.cumsum(rng.normal(size=N)), 1e5 + rng.normal(size=N)])
    kept = np.delete(np.arange(4, N), [10, 11, 50])
    source = make_source(grid, values, events=events, regressors=regressors, kept=kept)
    expected = by_nilearn(grid, [values], "face - house", events, regressors, kept)
    np.testing.assert_allclose(compute([source], "face - house"), expected, rtol=2e-3, atol=2e-3)


def test_runs_are_combined_as_in_nilearn(rng, grid, values, events):
    others = [values, values + 5 * rng.normal(size=values.shape), noise(rng, grid, N)]
    sources = [make_source(grid, run, events=events) for run in others]
    expected = by_nilearn(grid, others, "face - cat", events)
    np.testing.assert_allclose(compute(sources, "face - cat"), expected, rtol=1e-3, atol=1e-3)


def test_blocks_change_nothing(grid, values, events, monkeypatch):
    source = make_source(grid, values, events=events)
    whole = compute([source], "face - house")
    monkeypatch.setattr(first_level, "BLOCK", 17)
    np.testing.assert_allclose(compute([source], "face - house"), whole, rtol=1e-5)


def test_model_is_fitted_once_for_all_contrasts(grid, values, events, monkeypatch):
    calls = []
    fit = first_level.fit_design
    monkeypatch.setattr(first_level, "fit_design", lambda *a: calls.append(1) or fit(*a))
    recipes = parse_maps(["contrast:a=face", "contrast:b=house", "contrast:c=face - house"])
    both = compute_maps([make_source(grid, values, events=events)] * 2, recipes)
    assert both.shape == (3, grid.n_voxels)
    assert len(calls) == 2


def test_regressors_that_repeat_drift_cost_no_freedom(grid, values, events):
    """What several strategies bring along, cosines and a constant, is in the model once."""
    run = open_source(grid, values, events=events)
    model = fit_run(run)
    drift = model.design[:, [name.startswith("drift") for name in model.columns]]
    again = open_source(
        grid, values, events=events, regressors=np.column_stack([drift, np.ones(N)])
    )
    recipe = parse_maps(["contrast:a=face"])[0]
    one, two = recipe.of_run(run), recipe.of_run(again)
    assert one.dof == two.dof
    np.testing.assert_allclose(one.effect, two.effect, rtol=1e-4, atol=1e-6)


def test_no_data_is_no_value(grid, values, events):
    holes = values.copy()
    holes[:, 4], holes[:, 9], holes[:, 11] = np.nan, 1000, -values[:, 11]
    z = compute([make_source(grid, run, events=events) for run in (values, holes)], "face")
    assert np.flatnonzero(np.isnan(z)).tolist() == [4, 9, 11]


def test_design_begins_with_the_first_volume(events):
    """A block's response rises after its onset, and not before."""
    table = pd.read_csv(events, sep="\t")
    design = build_design(N, T_R, table, np.zeros((N, 0)))
    response = design["condition:face"]
    assert np.abs(response[:4.0]).max() == 0  # by time in seconds: the block begins at 6 s
    assert 12 <= response[:40.0].idxmax() <= 20


def test_design_starts_when_the_first_volume_does(events):
    """As after slice timing correction, which moves volumes by about half a repetition time."""
    table = pd.read_csv(events, sep="\t")
    late = build_design(N, T_R, table, np.zeros((N, 0)), start_time=T_R / 2)
    twice = build_design(2 * N, T_R / 2, table, np.zeros((2 * N, 0)))
    expected = twice["condition:face"].to_numpy()[1::2]
    np.testing.assert_allclose(late["condition:face"], expected, atol=0.02 * expected.max())


def test_conditions_may_be_called_anything(grid, values, write_tsv, tmp_path):
    names = {"face": "2-back (faces)", "house": "constant", "cat": "drift_1"}
    rows = [row | {"trial_type": names[row["trial_type"]]} for row in EVENTS]
    renamed = write_tsv(tmp_path / "renamed.tsv", rows)
    plain = write_tsv(tmp_path / "plain.tsv", EVENTS)
    one = compute([make_source(grid, values, events=plain)], "face - house + cat")
    formula = "2_back_faces_ - constant + drift_1"
    two = compute([make_source(grid, values, events=renamed)], formula)
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


# faults ----------------------------------------------------------------------------------------


def test_condition_that_is_nowhere_is_named(grid, values, events):
    sources = [make_source(grid, values, events=events, run_id=f"run-{k}") for k in (1, 2)]
    there = "'cat', 'face', 'house'"
    with pytest.raises(VolumeError, match=f"no 'Face' for contrast 'own'.*events: {there}") as got:
        compute(sources, "Face")
    assert [fault.where for fault in got.value.faults] == ["run-1", "run-2"]
    assert {fault.participant_id for fault in got.value.faults} == {"sub-01"}


def test_contrast_of_conditions_of_different_runs_is_refused(grid, values, events):
    with pytest.raises(VolumeError, match=r"conditions that the run has not: 'dog'.*there: 'cat'"):
        compute([make_source(grid, values, events=events)], "face - dog")


def test_run_without_the_conditions_is_passed_over(grid, values, events, tmp_path, write_tsv):
    rows = [row | {"trial_type": "dog"} for row in EVENTS]
    other = make_source(grid, values[::-1], events=write_tsv(tmp_path / "dogs.tsv", rows))
    one = make_source(grid, values, events=events)
    np.testing.assert_array_equal(compute([one, other], "face"), compute([one], "face"))


def test_conditions_at_the_same_times_can_not_be_told_apart(grid, values, tmp_path, write_tsv):
    rows = EVENTS + [row | {"trial_type": "twin"} for row in EVENTS if row["trial_type"] == "face"]
    source = make_source(grid, values, events=write_tsv(tmp_path / "twins.tsv", rows))
    with pytest.raises(VolumeError, match="contrast 'own' that can't be estimated"):
        compute([source], "face - house")
    assert np.isfinite(compute([source], "house - cat")).all()
    assert np.isfinite(compute([source], "face + twin")).all()


def test_condition_in_missing_volumes_alone_can_not_be_estimated(grid, values, tmp_path, write_tsv):
    rows = [*EVENTS, {"onset": N * T_R - 1, "duration": 1, "trial_type": "late"}]
    kept = np.arange(N - 4)
    source = make_source(grid, values, events=write_tsv(tmp_path / "l.tsv", rows), kept=kept)
    with pytest.raises(VolumeError, match="contrast 'own' that can't be estimated"):
        compute([source], "late")


def test_more_regressors_than_volumes_are_refused(rng, grid, values, events):
    source = make_source(grid, values, events=events, regressors=rng.normal(size=(N, N)))
    with pytest.raises(VolumeError, match=r"90 volumes for 90 independent regressors"):
        compute([source], "face")


NAMES = ["faces", "houses", "rest_2"]


@pytest.mark.parametrize(
    ("trial_type", "name"),
    [
        ("faces", "faces"),
        ("Neutral - OBSERVAR", "Neutral_OBSERVAR"),
        ("heat (47.5 °C)", "heat_47_5_C_"),
        ("douleur élevée", "douleur_élevée"),
        ("2back", "2back"),
        ("1", "condition_1"),
        ("a__b", "a_b"),
    ],
)
def test_names_of_conditions(trial_type, name):
    assert condition_name(trial_type) == name


@given(st.text())
def test_names_can_be_used_in_formulas(trial_type):
    name = condition_name(trial_type)
    assert condition_name(name) == name
    if name:
        assert parse_formula(f"2 * {name} - other") == {name: 2.0, "other": -1.0}


@pytest.mark.parametrize(
    ("formula", "weights"),
    [
        ("faces", {"faces": 1}),
        ("faces - houses", {"faces": 1, "houses": -1}),
        ("-(faces + houses) / 2 + rest_2 * .5", {"faces": -0.5, "houses": -0.5, "rest_2": 0.5}),
        ("2back-0back", {"2back": 1, "0back": -1}),
        ("faces - houses + houses", {"faces": 1}),
    ],
)
def test_weights(formula, weights):
    assert parse_formula(formula) == weights


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.integers(-9, 9)), min_size=1))
def test_agrees_with_nilearn(terms):
    formula = " + ".join(f"({weight}) * {name}" for name, weight in terms)
    expected = np.ravel(expression_to_contrast_vector(formula, NAMES))
    if not expected.any():
        with pytest.raises(ValueError, match="no condition has a weight"):
            parse_formula(formula)
    else:
        found = parse_formula(formula)
        assert [found.get(name, 0) for name in NAMES] == expected.tolist()


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("faces -", "no formula"),
        ("", "no formula"),
        ("faces houses", "no formula"),
        ("faces + 1", "adds a number"),
        ("faces - faces", "no condition has a weight"),
        ("3 - 2", "adds a number"),
        ("faces * houses", "no weighted sum"),
        ("1 / faces", "no weighted sum"),
        ("faces / 0", "no weighted sum"),
        ("faces ** 2", "no weighted sum"),
        ("abs(faces)", "something other"),
        ("faces > houses", "something other"),
        ("faces.real", "something other"),
        ("'x'", "something other"),
    ],
)
def test_says_what_is_wrong(formula, said):
    with pytest.raises(ValueError, match=said):
        parse_formula(formula)


ROWS = [
    {"onset": 4, "duration": 2.5, "trial_type": "Neutral - OBSERVAR"},
    {"onset": "10.5", "duration": 0, "trial_type": "pain"},
    {"onset": 12, "duration": "n/a", "trial_type": "n/a"},
]


@pytest.fixture
def run_with(tmp_path, rng, grid, write_tsv):
    def build(rows):
        events = write_tsv(tmp_path / "events.tsv", rows)
        return open_source(grid, noise(rng, grid), events=events)

    return build


def test_reads_what_has_a_trial_type(run_with):
    events = read_events(run_with(ROWS))
    assert events["trial_type"].tolist() == ["Neutral_OBSERVAR", "pain"]
    assert events["onset"].tolist() == [4.0, 10.5]
    assert events["duration"].tolist() == [2.5, 0.0]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"onset": "soon"}, "onset 'soon' in line 2"),
        ({"onset": "n/a"}, "onset '' in line 2"),
        ({"duration": -1}, "duration '-1' in line 2"),
        ({"duration": "inf"}, "duration 'inf' in line 2"),
        ({"duration": "2 s"}, "duration '2 s' in line 2"),
        ({"onset": "4,5"}, "onset '4,5' in line 2"),  # the other has a point
        ({"onset": -9999}, "onset '-9999' in line 2"),
        ({"duration": 9999}, "duration '9999' in line 2"),
    ],
)
def test_names_the_line_that_is_wrong(run_with, change, found):
    run = run_with([ROWS[0] | change, ROWS[1]])
    with pytest.raises(VolumeError, match=rf"run-1 \(.*events\.tsv\): found {found}; accepted: "):
        read_events(run)


def test_reads_decimal_commas(run_with):
    rows = [
        {"onset": "4,5", "duration": "1,250", "trial_type": "a"},
        {"onset": "\u22120,25", "duration": "2,500", "trial_type": "b"},
    ]
    events = read_events(run_with(rows))
    assert events["onset"].tolist() == [4.5, -0.25]
    assert events["duration"].tolist() == [1.25, 2.5]


def test_refuses_trial_types_that_formulas_could_not_tell_apart(run_with):
    rows = [ROWS[1] | {"trial_type": name} for name in ("a-b", "a b", "c")]
    with pytest.raises(VolumeError, match="found 'a b' and 'a-b'; accepted: trial types that"):
        read_events(run_with(rows))


@pytest.mark.parametrize(
    ("onset", "found"), [(120_000, "from 120000 s on"), (-90, "from -90 s on")]
)
def test_refuses_events_outside_the_run(run_with, onset, found):
    with pytest.raises(VolumeError, match=rf"no event within the 120 s of the run \({found}\)"):
        read_events(run_with([ROWS[1] | {"onset": onset}]))


def test_refuses_a_table_without_trial_types(run_with):
    rows = [{"onset": 1, "duration": 2, "value": "pain"}]
    with pytest.raises(VolumeError, match="add or rename: 'trial_type'"):
        read_events(run_with(rows))


def test_refuses_no_events(rng, grid):
    with pytest.raises(VolumeError, match=r"sub-01_task-rest_run-1: found no events; accepted: "):
        read_events(open_source(grid, noise(rng, grid)))
