import numpy as np
import pandas as pd
import pytest

from fmnet.evaluation.graded import auc_within, fold_numbers
from fmnet.evaluation.shared_signature import (
    Task,
    gains,
    shared,
    shared_sentences,
    similarity,
    transfer_matrix,
)


def build_rows(likeness, seed=0, n=24, strength=0.25) -> pd.DataFrame:
    """Scores of mean differences in 60 voxels: two pains whose patterns are that much alike."""
    rng = np.random.default_rng(seed)
    first, other = np.linalg.qr(rng.normal(size=(60, 2)))[0].T * np.sqrt(60)
    second = likeness * first + np.sqrt(1 - likeness**2) * other
    group = np.repeat(["FM", "OA", "HC"], n)
    maps = rng.normal(size=(3 * n, 60))
    maps += strength * ((group == "FM")[:, None] * first + (group == "OA")[:, None] * second)
    fold, rows = rng.permutation(np.arange(3 * n) % 4), []
    for number in range(4):
        test, scores = fold == number, {}
        for name in ("FM", "OA"):
            weight = maps[~test & (group == name)].mean(0) - maps[~test & (group == "HC")].mean(0)
            scores[f"score_{name}"] = maps[test] @ weight
        table = pd.DataFrame({"scan_id": [f"sub-{row:02}" for row in np.flatnonzero(test)]})
        table = table.assign(repeat=0, fold=number, site="", **scores)
        for name in ("FM", "OA"):
            label = {name: 1.0, "HC": 0.0}
            table[f"label_{name}"] = [label.get(one, np.nan) for one in group[test]]
        rows.append(table)
    found = pd.concat(rows, ignore_index=True)
    return found.assign(participant_id=found["scan_id"], unit=found["scan_id"])


def test_a_shared_signature_is_found():
    found = transfer_matrix(build_rows(1.0), ["FM", "OA"], 0)
    (pair,) = found["pairs"]
    assert pair["answer"] == "both ways"
    assert pair["ci"][0] < 1 < pair["ci"][1]
    assert [(cell["trained"], cell["tested"]) for cell in found["cells"]][1] == ("FM", "OA")
    assert shared_sentences(found)[0].startswith("FM and OA share a signature")


def test_distinct_signatures_are_not_called_shared():
    found = transfer_matrix(build_rows(0.0), ["FM", "OA"], 0)
    (pair,) = found["pairs"]
    assert pair["answer"] == "not shown"
    assert pair["ci"][0] < 0 < pair["ci"][1]
    # controls in common alone make scores go together
    assert pair["correlation"] > 0.1
    assert shared_sentences(found)[0].startswith("No shared signature of FM and OA was found")


def test_nothing_is_said_of_what_is_not_told():
    found = transfer_matrix(build_rows(1.0, strength=0.0), ["FM", "OA"], 0)
    assert found["pairs"][0]["answer"] == "not told"
    assert "can't be said" in shared_sentences(found)[0]


def test_similarity_is_that_of_patterns():
    assert similarity(0.8, 0.8, 0.8, 0.8) == pytest.approx(1)
    assert similarity(0.8, 0.9, 0.5, 0.5) == pytest.approx(0, abs=1e-12)
    assert similarity(0.8, 0.8, 0.2, 0.2) == pytest.approx(-1)
    assert np.isnan(similarity(0.4, 0.8, 0.6, 0.6))
    assert np.isnan(similarity(1.0, 0.8, 0.6, 0.6))


@pytest.mark.parametrize(
    ("there", "back", "own", "answer"),
    [
        (0.01, 0.02, 0.5, "both ways"),
        (0.01, 0.2, 0.001, "one way"),
        (0.2, 0.2, 0.001, "not shown"),
        (0.2, 0.2, 0.06, "not told"),
    ],
)
def test_answers(there, back, own, answer):
    cells = {("a", "b"): {"auc": 0.8, "p_holm": there}, ("b", "a"): {"auc": 0.8, "p_holm": back}}
    cells |= {("a", "a"): {"p": 0.001}, ("b", "b"): {"p": own}}
    assert shared(cells, "a", "b") == answer


def auc_of(rows):
    label = rows["outcome_group"].to_numpy(float) == 1
    return {"auc": auc_within(rows["score"].to_numpy(float), label, fold_numbers(rows))}


def test_a_gain_is_told_from_none(rng):
    group = np.tile([0.0, 1.0], 40)
    table = pd.DataFrame({"participant_id": [f"sub-{n:02}" for n in range(80)]})
    table = table.assign(repeat=0, fold=np.arange(80) // 2 % 4, outcome_group=group)
    table = table.assign(scan_id=table["participant_id"], unit=table["participant_id"])
    noise = rng.normal(size=(2, 80))
    poor, good = table.assign(score=noise[0]), table.assign(score=noise[0] + 3 * group)
    task = Task("pain", auc_of, {"name": "auc", "title": "AUC", "chance": 0.5})
    (row,) = gains([task], {"pain": good}, {"pain": poor}, 0, n_bootstrap=60)
    assert row["gain"] > 0.3
    assert row["p_holm"] < 0.01
    (same,) = gains([task], {"pain": poor}, {"pain": poor}, 0, n_bootstrap=60)
    assert (same["gain"], same["p_holm"]) == (0, 1)
