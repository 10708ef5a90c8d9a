import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nilearn.glm.contrasts import expression_to_contrast_vector

from fmnet.bold.formula import condition_name, parse_formula

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
