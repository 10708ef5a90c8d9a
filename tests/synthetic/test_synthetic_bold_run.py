from dataclasses import replace

import numpy as np
import pytest
from nilearn.signal import clean
from numpy.random import SeedSequence

from fmnet.synthetic.bold_brain import (
    FIRST,
    SECOND,
    build_anatomy,
    group_correlations,
    network_maps,
    response_map,
)
from fmnet.synthetic.bold_run import (
    draw_motion,
    draw_run,
    draw_subject,
    draw_time_series,
    framewise_displacement,
)
from fmnet.synthetic.design import BoldDesign
from fmnet.synthetic.effects import draw_fields

SHORT = {"n_volumes": 80, "n_non_steady": 0}


@pytest.fixture(scope="module")
def anatomy():
    return build_anatomy(12)


@pytest.fixture(scope="module")
def draw(anatomy):
    def draw_one(k, is_patient=True, **parameters):
        design = BoldDesign(**parameters)
        subject_seed, run_seed = SeedSequence(k).spawn(2)
        person = draw_subject(design, anatomy, is_patient, 1.0, subject_seed)
        return draw_run(design, anatomy, person, run_seed)

    return draw_one


def recovered_coupling(run, anatomy):
    """Regress the volumes on the true maps and correlate what two networks get."""
    percent = 100 * (run.values / run.values.mean(axis=0) - 1)
    maps = network_maps(anatomy.grid)
    courses = np.linalg.lstsq(maps.T, percent.T, rcond=None)[0]
    return np.corrcoef(courses[[FIRST, SECOND]])[0, 1]


def group_difference(draw, find, **parameters):
    """Draw the same people in either group, so that chance is out of the difference."""
    found = [[find(draw(k, group, **parameters)) for k in range(16)] for group in (True, False)]
    return np.mean(found[0]) - np.mean(found[1])


def test_coupling_is_found_in_volumes_with_little_noise(draw, anatomy):
    quiet = dict.fromkeys(("drift_percent", "physio_percent", "motion_percent"), 0.0)
    quiet |= {"thermal_percent": 0.2, "smooth_percent": 0.2}
    parameters = {"coupling": 0.4, "n_volumes": 150, "n_non_steady": 0, **quiet}
    difference = group_difference(draw, lambda run: recovered_coupling(run, anatomy), **parameters)
    assert difference == pytest.approx(0.4, abs=0.08)


@pytest.mark.slow
def test_a_good_part_of_it_is_left_among_the_usual_noise(draw, anatomy):
    def clean_and_find(run):
        traces = np.column_stack([run.motion.traces, np.diff(run.motion.traces, axis=0, prepend=0)])
        cleaned = clean(
            run.values, confounds=traces, t_r=2.0, low_pass=0.1, high_pass=0.01, standardize=None
        )
        return recovered_coupling(replace(run, values=cleaned + run.values.mean(axis=0)), anatomy)

    parameters = {"coupling": 0.4, "n_volumes": 120, "n_non_steady": 0}
    assert 0.2 < group_difference(draw, clean_and_find, **parameters) < 0.45


def test_without_effects_the_group_changes_nothing(draw):
    for parameters in ({}, {"task": "pain"}):
        one, other = draw(5, True, **SHORT, **parameters), draw(5, False, **SHORT, **parameters)
        assert np.array_equal(one.values, other.values)
        assert np.array_equal(one.motion.traces, other.motion.traces)


@pytest.mark.parametrize(
    ("effect", "same"),
    [({"coupling": 0.3}, "motion"), ({"motion_effect": 1.0}, "time_series")],
)
def test_an_effect_changes_its_own_part_only(draw, effect, same):
    one, other = draw(5, True, **SHORT, **effect), draw(5, False, **SHORT, **effect)
    assert not np.array_equal(one.values, other.values)
    if same == "motion":
        assert np.array_equal(one.motion.traces, other.motion.traces)
    else:
        assert np.array_equal(one.time_series, other.time_series)


def test_time_series_are_slow_and_correlated_as_asked():
    correlations = group_correlations(0.2)
    courses = draw_time_series(np.random.default_rng(0), correlations, 20000, 1.5)
    assert np.allclose(np.corrcoef(courses.T), correlations, atol=0.06)
    assert courses.std() == pytest.approx(1, abs=0.05)
    power = np.abs(np.fft.rfft(courses, axis=0)) ** 2
    frequency = np.fft.rfftfreq(20000, 1.5)
    inside = (frequency >= 0.009) & (frequency <= 0.101)
    assert power[inside].sum() > 0.97 * power[1:].sum()


@pytest.mark.parametrize("mean_mm", [0.05, 0.2])
def test_a_head_moves_as_much_as_asked(mean_mm):
    moved = [
        draw_motion(np.random.default_rng(k), 200, mean_mm, 0.0).displacement_mm[1:].mean()
        for k in range(20)
    ]
    assert np.mean(moved) == pytest.approx(mean_mm, rel=0.05)


def test_framewise_displacement_by_hand():
    traces = np.array([[0, 0, 0, 0, 0, 0], [0.1, -0.2, 0, 0.01, 0, 0], [0.1, -0.2, 0.3, 0, 0, 0]])
    assert np.allclose(framewise_displacement(traces), [0, 0.8, 0.8])


def test_fm_moves_more_by_so_many_sd(draw):
    parameters = {"motion_effect": 1.0, "spike_rate": 0.0, **SHORT}
    for k in range(4):
        one, other = draw(k, True, **parameters).motion, draw(k, False, **parameters).motion
        ratio = one.displacement_mm[1:].mean() / other.displacement_mm[1:].mean()
        assert ratio == pytest.approx(np.exp(0.4), rel=1e-6)


def mean_correlation(run):
    matrix = np.corrcoef(run.values.T)
    return matrix[np.triu_indices(len(matrix), 1)].mean()


def test_motion_raises_correlations(draw):
    still, moving = (
        np.mean([mean_correlation(draw(k, motion_mm=mm, **SHORT)) for k in range(6)])
        for mm in (0.05, 0.4)
    )
    assert moving > still + 0.05


def test_motion_shows_most_at_the_rim(draw, anatomy):
    moving, still = (draw(1, motion_percent=percent, **SHORT).values for percent in (2.0, 0.0))
    added = ((moving - still) / anatomy.brightness).std(axis=0)
    assert added[anatomy.rim > 0.9].mean() > 1.3 * added[anatomy.rim < 0.2].mean()


def test_spikes_corrupt_their_volumes(draw, anatomy):
    parameters = {"motion_mm": 0.1, "spike_rate": 0.05, "n_volumes": 200, "n_non_steady": 0}
    run = draw(3, **parameters)
    assert run.motion.is_spike.sum() >= 3
    steps = np.sqrt((np.diff(run.values, axis=0) ** 2).mean(axis=1))
    hit = run.motion.is_spike[1:]
    assert steps[hit].mean() > 1.4 * np.median(steps[~hit])


def test_response_to_pain_differs_by_so_many_sd(draw, anatomy):
    parameters = {"task": "pain", "task_effect": 2.0, "n_volumes": 120, "n_non_steady": 0}
    one, other = draw(2, True, **parameters), draw(2, False, **parameters)
    difference = 100 * (one.values - other.values) / anatomy.brightness
    where = response_map(anatomy.grid)
    course = difference @ where / (where @ where)
    # a difference of 2 SDs of 0.25 percent, at the plateau of a response of height 1
    assert course.max() == pytest.approx(0.5, rel=0.15)
    assert one.events.equals(other.events)
    assert (one.events["onset"].diff()[1:] >= 22).all()
    assert set(one.events["trial_type"]) == {"pain", "warm"}


@pytest.mark.parametrize("fwhm_mm", [0.0, 20.0])
def test_fields_have_a_standard_deviation_of_one(anatomy, fwhm_mm):
    fields = draw_fields(np.random.default_rng(0), anatomy.grid, 300, fwhm_mm)
    assert fields.std() == pytest.approx(1, abs=0.03)


def test_brain_is_bright_inside_and_dark_at_the_rim(anatomy):
    assert anatomy.brightness.min() > 1000
    assert 6000 < np.median(anatomy.brightness) < 10000
    assert (
        anatomy.brightness[anatomy.rim < 0.3].mean() > anatomy.brightness[anatomy.rim > 0.9].mean()
    )
    assert not (anatomy.csf & anatomy.white).any()
    inside = np.abs(anatomy.positions_mm[anatomy.csf])
    assert np.median(inside[:, 0]) < 30
