import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from fmnet.evaluation.comparison import holm
from fmnet.evaluation.outcome_study import (
    add_outcome_units,
    compare,
    count_draws,
    evaluate_outcomes,
    narrowness,
    scale_of,
    widened,
)

PRIMARY = {"name": "r", "title": "correlation", "chance": 0.0}


def table_of(seed=0, n=40, n_repeats=1, n_folds=5, **effects):
    """Outcomes of n people and scores of models with these slopes, each repeat in other folds."""
    rng, tables = np.random.default_rng(seed), []
    outcome = rng.normal(size=n)
    for repeat in range(n_repeats):
        fold = rng.permutation(n) % n_folds
        for model, effect in effects.items():
            names = {
                "participant_id": [f"sub-{k:02}" for k in range(n)],
                "scan_id": [f"scan-{k:02}" for k in range(n)],
            }
            score = effect * outcome + rng.normal(size=n)
            rows = {"repeat": repeat, "fold": fold, "outcome_value": outcome, "score": score}
            tables.append(pd.DataFrame({"model": model} | names | rows))
    return pd.concat(tables, ignore_index=True)


def figures(rows):
    pair = rows["score"].to_numpy(), rows["outcome_value"].to_numpy()
    return {"r": float(np.corrcoef(*pair)[0, 1]), "mean": float(pair[0].mean())}


def details(rows):
    return {"n_rows": len(rows)}


def evaluate(table, of=figures, n_bootstrap=60, studied="network"):
    kinds = {studied: "closed form"}
    return evaluate_outcomes(table, studied, kinds, of, details, PRIMARY, 0, n_bootstrap)


def test_figures_are_means_over_repeats():
    table = table_of(network=1.0, ridge=0.5, n_repeats=3)
    facts = evaluate(table)
    own = table[table["model"] == "network"]
    each = [figures(rows)["r"] for _, rows in own.groupby("repeat")]
    network = facts["models"]["network"]
    assert network["r"] == pytest.approx(np.mean(each))
    assert network["r_by_repeat"] == pytest.approx(each)
    assert network["r_ci"][0] < network["r"] < network["r_ci"][1]
    counts = ("n_subjects", "n_units", "n_scans", "n_repeats", "n_bootstrap")
    assert [facts[name] for name in counts] == [40, 40, 40, 3, 60]
    assert facts["details"] == {"network": {"n_rows": 120}, "ridge": {"n_rows": 120}}
    assert (facts["studied"], facts["primary"]) == ("network", PRIMARY)
    json.dumps(facts, allow_nan=False)


def test_many_repeats_share_the_draws():
    assert [count_draws(500, n) for n in (1, 2, 4, 10, 50)] == [500, 500, 250, 100, 100]
    assert count_draws(60, 10) == 60


def test_people_drawn_twice_count_as_two_with_all_their_scans():
    table = table_of(network=1.0, n=6)
    again = table.assign(scan_id=table["scan_id"] + "b", score=table["score"] + 1)
    both = pd.concat([table, again], ignore_index=True)
    seen = []

    def noting(rows):
        seen.append(rows)
        return figures(rows)

    evaluate(both, noting)
    drawn = [rows for rows in seen if len(set(rows["unit"])) == 6 and len(rows) == 12]
    assert len(drawn) > 50
    for rows in drawn:
        assert rows.groupby("participant_id").size().tolist() == [2] * 6
        assert not rows["scan_id"].duplicated().any()
        first = rows["participant_id"].str.slice(0, 6)
        assert (rows["scan_id"].str.slice(5, 7) == first.str.slice(4)).all()
    assert any(name.endswith(" (2)") for rows in drawn for name in rows["participant_id"])


def test_families_are_drawn_whole():
    table = table_of(network=1.0, n=12)
    unit_of = {f"sub-{k:02}": f"family-{k // 3}" for k in range(12)}
    site_of = {f"sub-{k:02}": "AB"[k % 2] for k in range(11)}
    with_units = add_outcome_units(table, unit_of, site_of)
    assert list(with_units["site"]) == [*"ABABABABABA", ""]
    sizes = []

    def noting(rows):
        sizes.extend(rows.groupby("unit").size())
        return figures(rows)

    facts = evaluate(with_units, noting)
    assert facts["n_units"] == 4
    whole = sizes[:-1]
    assert whole.count(3) > 0.9 * len(whole)  # folds that are left out divide them alone


def test_interval_of_the_primary_figure_is_wider_than_people_alone_make_it():
    table = table_of(network=0.3)
    facts = evaluate(table, lambda rows: figures(rows) | {"again": figures(rows)["r"]}, 400)
    own = facts["models"]["network"]
    factor = np.diff(own["r_ci"])[0] / np.diff(own["again_ci"])[0]
    assert 1.2 < factor < np.sqrt(2) + 1e-9
    often = table_of(network=0.3, n_repeats=4)
    own = evaluate(often, lambda rows: figures(rows) | {"again": figures(rows)["r"]}, 120)
    both = (np.diff(own["models"]["network"][f"{name}_ci"])[0] for name in ("r", "again"))
    assert np.divide(*both) > factor  # repeats average over people drawn, not over those trained on
    assert widened([0.2, 0.5], 0.4, 1.5) == pytest.approx([0.1, 0.55])


def test_small_cohorts_have_wider_intervals():
    assert narrowness(2000, 1) == pytest.approx(1.0, abs=2e-3)
    expected = np.sqrt(30 / 25) * student.ppf(0.975, 25) / 1.959964
    assert narrowness(30, 5) == pytest.approx(expected)
    assert narrowness(5, 5) == 1.0


def test_scales_lie_between_chance_and_best():
    assert [scale_of(value, 0.5) for value in (0.4, 0.5, 0.75, 1.0)] == [0.5, 0.5, 0.75, 1.0]
    assert [scale_of(value, 0.0) for value in (-0.2, 0.5, 1.0, 3.0)] == [0.5, 0.75, 1.0, 0.5]
    assert scale_of(float("nan"), 0.0) == 0.5


def test_differences_have_the_larger_p_and_the_interval_of_both():
    facts = evaluate(table_of(network=2.0, ridge=1.9, scale=0.0, n=60, n_repeats=2), n_bootstrap=99)
    rows = {row["rival"]: row for row in facts["comparisons"]}
    assert list(rows) == ["ridge", "scale"]
    models = facts["models"]
    for rival, row in rows.items():
        assert row["model"] == "network"
        assert row["difference"] == pytest.approx(models["network"]["r"] - models[rival]["r"])
        assert row["p"] == max(row["p_bootstrap"], row["p_folds"])
        assert row["ci"][0] < row["difference"] < row["ci"][1]
        assert (row["ci"][0] > 0) == (row["p"] < 0.05)
    assert rows["scale"]["p"] < 0.05 < rows["ridge"]["p"]
    assert [row["p_holm"] for row in rows.values()] == holm([row["p"] for row in rows.values()])


def test_equal_models_do_not_differ():
    table = table_of(network=1.0)
    same = pd.concat([table, table.assign(model="ridge")], ignore_index=True)
    (row,) = evaluate(same)["comparisons"]
    assert (row["difference"], row["p"], row["ci"]) == (0.0, 1.0, [0.0, 0.0])


def test_what_is_not_known_is_none():
    """Figures that can't be told from some, or from any, of the people."""
    table = table_of(network=1.0, ridge=1.0, dummy=0.0)

    def seldom(rows):
        is_known = (rows["model"] != "ridge").all()
        return {"r": figures(rows)["r"] if is_known else np.nan, "other": np.nan}

    facts = evaluate(table, seldom)
    assert facts["models"]["ridge"]["r"] is None
    assert facts["models"]["ridge"]["r_ci"] is None
    assert facts["models"]["network"]["other_ci"] is None
    one, other = facts["comparisons"]
    assert (one["rival"], one["difference"], one["p"], one["p_holm"]) == ("ridge", None, None, None)
    assert other["p_holm"] == other["p"]
    json.dumps(facts, allow_nan=False)


def test_models_alone_in_one_fold_are_compared_by_the_bootstrap_alone():
    """As in a lock-box."""
    table = table_of(network=2.0, ridge=0.0, n_folds=1)
    (row,) = evaluate(table)["comparisons"]
    assert row["p"] == row["p_bootstrap"] < 0.05
    assert row["p_folds"] is None
    assert compare({"network": table}, "network", PRIMARY, {}, {}, 40) == []
