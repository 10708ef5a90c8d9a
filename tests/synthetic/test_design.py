import json
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnet.errors import CohortError
from fmnet.synthetic.bold_brain import (
    FIRST,
    SECOND,
    are_positive,
    draw_correlations,
    group_correlations,
)
from fmnet.synthetic.design import BOLD_RULES, BoldDesign


def test_all_parameter_faults_come_at_once():
    bad = {name: -99 if name not in {"coupling", "task_effect"} else np.nan for name in BOLD_RULES}
    with pytest.raises(CohortError, match="25 faults") as caught:
        BoldDesign(**bad, task="sleep")
    assert {fault.where for fault in caught.value.faults} == {
        f"cohort.{name}" for name in (*BOLD_RULES, "task")
    }


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"n_sites": 31}, r"cohort\.n_sites: found 31; accepted: at most 30"),
        ({"task_effect": 0.5}, r"cohort\.task_effect: found 0\.5 in a cohort at rest"),
        ({"coupling": 0.8, "coupling_sd": 0.3}, r"cohort\.coupling: found correlations from -0\.9"),
        ({"n_volumes": 100.0}, r"cohort\.n_volumes: found 100\.0"),
        ({"seed": True}, r"cohort\.seed: found True"),
        ({"t_r": "2"}, r"cohort\.t_r: found '2'"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named(parameters, match):
    with pytest.raises(CohortError, match=match):
        BoldDesign(**parameters)


def test_every_parameter_has_a_rule_and_a_default_in_range():
    assert set(BoldDesign().parameters) == {field.name for field in fields(BoldDesign)}


@given(coupling=st.sampled_from([0, 0.0, 0.25]), seed=st.integers(0, 2**70), runs=st.integers(1, 9))
def test_digest_depends_on_values_only(coupling, seed, runs):
    design = BoldDesign(coupling=coupling, seed=seed, n_runs=runs)
    again = BoldDesign(**json.loads(json.dumps(design.parameters)))
    assert again.digest == design.digest
    assert BoldDesign(coupling=coupling, seed=seed + 1, n_runs=runs).digest != design.digest


@given(coupling=st.floats(-0.4, 0.4), coupling_sd=st.floats(0, 0.2), seed=st.integers(0, 2**32 - 1))
def test_each_person_has_correlations(coupling, coupling_sd, seed):
    assert are_positive(coupling, coupling_sd)
    drawn = draw_correlations(np.random.default_rng(seed), coupling / 2, coupling_sd)
    assert np.allclose(drawn, drawn.T)
    assert np.allclose(np.diag(drawn), 1)
    assert np.linalg.eigvalsh(drawn)[0] > 0
    expected = group_correlations(coupling / 2)[FIRST, SECOND]
    assert abs(drawn[FIRST, SECOND] - expected) <= 2 * coupling_sd + 1e-9


def test_the_pair_keeps_its_mean_and_spread():
    drawn = [
        draw_correlations(np.random.default_rng(k), 0.2, 0.15)[FIRST, SECOND] for k in range(2000)
    ]
    assert np.mean(drawn) == pytest.approx(0.3, abs=0.01)
    assert np.std(drawn) == pytest.approx(0.15, abs=0.012)
