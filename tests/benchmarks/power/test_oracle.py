import numpy as np
import pytest
from scipy.stats import multivariate_normal

from benchmarks.power.backgrounds import draw_backgrounds
from benchmarks.power.contender import draw_folds, mean_auc
from benchmarks.power.oracle import REST, Oracle, fit_noise, score_by_truth
from benchmarks.power.planted import PlantedCohort, Planter
from benchmarks.power.regimes import AMPLITUDES, NAMES, TEMPLATED
from fmnet.synthetic.effects import Effect


@pytest.fixture(scope="module")
def made():
    return draw_backgrounds(40, 8, seed=1)


def auc(made, regime, amplitude, number=0):
    drawn = Planter(made, AMPLITUDES | {regime: amplitude}).draw(regime, 40, number)
    return mean_auc(Oracle().predict(drawn, draw_folds(drawn)))


@pytest.mark.parametrize("regime", [name for name in NAMES if name != "null"])
def test_finds_a_strong_effect(made, regime):
    amplitude = 0.4 if regime in TEMPLATED else 2.5
    assert auc(made, regime, amplitude) > 0.9


def test_finds_nothing_in_null(made):
    assert auc(made, "null", 0.0) == 0.5


def test_knowing_an_effect_that_is_not_there_does_not_help(made):
    """What was planted is taken out again: the scores are then of plain backgrounds."""
    aucs = []
    for number in range(8):
        drawn = Planter(made, AMPLITUDES).draw("varied", 40, number)
        plain = PlantedCohort(
            drawn.background, drawn.background, drawn.labels, drawn.families, drawn.effect,
            drawn.grid, drawn.seed,
        )  # fmt: skip
        aucs.append(mean_auc(Oracle().predict(plain, draw_folds(plain))))
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.12)


def test_score_is_the_ratio_of_likelihoods(grid, rng):
    """Beside densities worked out with the whole covariance matrix of three contrasts' voxels."""
    background = rng.normal(size=(11, 3, 4)).astype(np.float32) * np.arange(1, 5, dtype=np.float32)
    effect = Effect(
        rng.normal(size=(2, 3, 4)).astype(np.float32),
        patient=np.float32([[1, 1], [-1, -1], [2, 0]]),
        control=np.float32([[1, -1], [-1, 1]]),
    )
    labels = np.arange(11) % 2
    values = effect.plant(background, labels, rng)
    planted = PlantedCohort(background, values, labels, tuple(map(str, range(11))), effect, grid)
    train, test = np.arange(7), np.arange(7, 11)
    flat = background.reshape(11, -1)[train]
    sd, mean = flat.std(axis=0), flat.mean(axis=0)
    standard = (flat - mean) / sd
    sample = standard.T @ standard / 6
    covariance = sample + REST * np.trace(sample) / 12 * np.eye(12)

    def density(states, row):
        centres = mean / sd + np.tensordot(states, effect.patterns, axes=1).reshape(-1, 12) / sd
        values = row.reshape(-1) / sd
        return np.mean([multivariate_normal(c, covariance).pdf(values) for c in centres])

    expected = [
        np.log(density(effect.patient, row) / density(effect.control, row)) for row in values[test]
    ]
    np.testing.assert_allclose(score_by_truth(planted, train, test), expected, rtol=2e-3, atol=1e-3)


def test_voxels_that_nobody_has_are_passed_over(rng):
    background = rng.normal(size=(8, 9)).astype(np.float32)
    background[:, 2], background[:, 5] = 0, 3 + 1e-7 * rng.normal(size=8)
    noise = fit_noise(background)
    assert np.flatnonzero(noise.weight == 0).tolist() == [2, 5]
    assert np.isfinite(noise.axes).all()
