import pandas as pd
import pytest

from benchmarks.validity.measures import Coverage, Optimism, TypeOne, share_of


def test_share_comes_with_its_exact_interval_and_whether_it_is_as_promised():
    found = share_of(2, 60, (0.0, 0.01))
    assert (found["low"], found["high"]) == pytest.approx((0.00407, 0.11536), abs=1e-4)
    assert found["se"] == pytest.approx(0.0232, abs=1e-4)
    assert found["kept"] == "not shown"
    assert share_of(570, 600, (0.94, 0.96))["kept"] == "yes"
    assert share_of(500, 600, (0.94, 0.96))["kept"] == "no"


def test_coverage_counts_the_intervals_that_hold_the_mean_of_their_cell():
    one = {"n": 24, "auc": 0.5, "n_repeats": 1}
    rows = pd.DataFrame(
        [
            one | {"found": 0.5, "low": 0.4, "high": 0.6},
            one | {"found": 0.4, "low": 0.3, "high": 0.45},
            one | {"found": 0.6, "low": 0.52, "high": 0.7},
            one | {"found": 0.5, "low": 0.5, "high": 0.5},
        ]
    )
    (found,) = Coverage().summarise(rows).to_dict("records")
    assert found["mean_auc"] == pytest.approx(0.5)
    assert (found["share"], found["above"], found["below"]) == (0.5, 0.25, 0.25)


def test_type_one_counts_small_p_values_by_cell_and_over_all():
    rows = pd.DataFrame(
        {
            "n": [24, 24, 40, 40],
            "auc": 0.5,
            "n_repeats": 1,
            "difference": [0.1, -0.1, 0.2, 0.0],
            "p": [0.04, 0.2, 0.01, 0.03],
        }
    )
    found = TypeOne().summarise(rows)
    assert found["share"].tolist() == [0.5, 1.0, 0.75]
    assert found["n"].tolist() == [24, 40, "all"]


def test_optimism_is_what_is_stated_minus_the_truth():
    rows = pd.DataFrame(
        {
            "n": 24,
            "auc": 0.5,
            "n_repeats": 1,
            "raw": [0.6, 0.7],
            "corrected": [0.5, 0.52],
            "low": [0.4, 0.51],
            "high": [0.6, 0.7],
            "true": 0.5,
        }
    )
    (found,) = Optimism().summarise(rows).to_dict("records")
    assert found["raw_mean"] == pytest.approx(0.15)
    assert found["corrected_mean"] == pytest.approx(0.01)
    assert (found["kept"], found["covered"]) == ("yes", 0.5)


@pytest.mark.parametrize(
    ("measure", "cell", "n_rows"),
    [(Coverage(), (24, 0.8), 2), (TypeOne(), (24, 0.75), 2), (Optimism(), (24, 0.65), 1)],
)
def test_same_seeds_give_the_same_figures(measure, cell, n_rows):
    first, again = (measure.measure(cell, (0, 5)) for _ in range(2))
    assert first == again
    assert len(first) == n_rows
    assert first != measure.measure(cell, (0, 6))
