import pandas as pd
import pytest

from benchmarks.power.summary import compare_pairs, summarise
from benchmarks.power.tables import WIDTH, auc_table, share_table, terminal_lines, write_tables

LINEAR = ("linear_svm", "logistic_ridge")
MODELS = ("oracle", *LINEAR, "closed_form", "default", "another_network", "more")


@pytest.fixture
def units():
    """AUC rises by 0.01 from model to model and by 0.02 from draw to draw."""
    rows = [
        {
            **{"regime": regime, "n": n, "draw": draw, "model": model, "seconds": 1.0},
            "auc": (0.95 if model == "oracle" else 0.5 + k / 100) + draw / 50,
            "template": f"map{draw}" if regime == "widespread" else "n/a",
        }
        for n in (40, 140)
        for regime in ("null", "widespread")
        for draw in (0, 1)
        for k, model in enumerate(MODELS)
    ]
    return pd.DataFrame(rows)


def lines_of(units):
    return terminal_lines(summarise(units, LINEAR), compare_pairs(units, LINEAR), LINEAR)


def after(lines, start):
    """What stands below a line up to the next empty one, each line in words."""
    at = next(k for k, line in enumerate(lines) if line.startswith(start))
    below = lines[at + 1 :]
    return [line.split() for line in below[: below.index("") if "" in below else None]]


def test_lines_fit_and_hold_every_model(units):
    lines = lines_of(units)
    assert max(map(len, lines)) <= WIDTH == 110
    titles = [line for line in lines if line.startswith("n = 40: ")]
    assert titles == [
        "n = 40: mean AUC [95 % t-interval over draws]",
        "n = 40: minus the best linear baseline, paired by draw",
        "n = 40: share of the way from the best linear baseline to oracle and ceiling",
        "n = 40: default minus each rival",
        "n = 40: closed_form minus each rival",
    ]
    assert len([line for line in lines if line.startswith("n = 140: ")]) == 5
    aucs = after(lines, titles[0])
    # the seven models take two blocks, each with one row of names
    assert [name for row in (aucs[0], aucs[5]) for name in row] == list(MODELS)
    assert " ".join(aucs[2][1:5]) == "0.96 [0.83, 1.00] 0.52"


def test_each_template_has_a_row_below_that_of_all(units):
    table = auc_table(summarise(units[units["n"] == 40], LINEAR))
    assert list(table.index) == ["null", "widespread", "widespread: map0", "widespread: map1"]
    assert table.at["widespread: map1", "oracle"] == "0.97"


def test_default_is_compared_with_each_rival_to_a_thousandth(units):
    names, null, *_ = after(lines_of(units), "n = 40: default minus each rival")
    assert names == ["closed_form", *LINEAR]
    step = ["+0.010", "[+0.010,", "+0.010]"]
    assert null[1:4] == step
    assert null[4:7] == ["+0.030", "[+0.030,", "+0.030]"]


def test_difference_to_the_best_linear_names_it(units):
    names, null, *_ = after(lines_of(units), "n = 40: minus the best linear")
    # the other two go on below
    assert names == ["best", "linear", "oracle", "closed_form", "default"]
    assert null[:4] == ["null", "logistic_ridge", "+0.430", "[+0.430,"]


def test_shares_have_a_mean_over_regimes_and_a_blank_where_there_is_none(units):
    raced = units[(units["model"] == "oracle") & (units["regime"] == "widespread")]
    units = pd.concat([units, raced.assign(model="ceiling", auc=0.62 + raced["draw"] / 50)])
    table = share_table(summarise(units[units["n"] == 40], LINEAR), LINEAR)
    assert list(table.index) == [
        "null",
        "widespread",
        "widespread: map0",
        "widespread: map1",
        "mean",
    ]
    # logistic ridge has 0.52 and the default 0.54
    assert list(table["default to ceiling"]) == ["", "20%", "20%", "20%", "20%"]
    assert list(table["default to oracle"]) == 5 * ["5%"]
    assert "ceiling to ceiling" not in table


def test_without_linear_baselines_aucs_are_told_alone(units):
    alone = units[~units["model"].isin(LINEAR)]
    titles = [line for line in lines_of(alone) if line.startswith("n = 40: ")]
    assert titles == [
        "n = 40: mean AUC [95 % t-interval over draws]",
        "n = 40: default minus each rival",
    ]


def test_files_hold_the_figures(units, tmp_path):
    write_tables(units, tmp_path, LINEAR)
    table = pd.read_csv(tmp_path / "power.tsv", sep="\t", keep_default_na=False)
    assert len(table) == 2 * (1 + 3) * len(MODELS)
    assert set(table["regime"]) == {"null", "widespread"}
    pairs = pd.read_csv(tmp_path / "differences.tsv", sep="\t", keep_default_na=False)
    assert set(pairs["rival"]) == {"closed_form", "best linear", *LINEAR}
    text = (tmp_path / "power.md").read_text("utf-8")
    heads = [line for line in text.splitlines() if line.startswith("## ")]
    assert heads == ["## n = 40", "## n = 140"]
    assert "| regime | oracle | linear_svm | logistic_ridge | closed_form | default |" in text
    rows = [line for line in text.splitlines() if line.startswith("| widespread |")]
    assert rows[0].split(" | ")[1:3] == ["0.96 [0.83, 1.00]", "0.52 [0.39, 0.65]"]
    assert rows[1].split(" | ")[1:3] == ["logistic_ridge", "+0.430 [+0.430, +0.430]"]
