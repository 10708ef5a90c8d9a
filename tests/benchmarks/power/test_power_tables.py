import pandas as pd
import pytest

from benchmarks.power.summary import summarise
from benchmarks.power.tables import WIDTH, terminal_lines, write_tables

MODELS = ("oracle", "linear_svm", "logistic_ridge", "plain", "resnet", "another_network", "more")


@pytest.fixture
def units():
    """AUC rises by 0.01 from model to model and by 0.02 from draw to draw."""
    rows = [
        {
            **{"regime": regime, "n": n, "draw": draw, "model": model, "seconds": 1.0},
            "auc": (0.95 if model == "oracle" else 0.5 + k / 100) + draw / 50,
        }
        for n in (40, 140)
        for regime in ("null", "two_contrasts")
        for draw in (0, 1)
        for k, model in enumerate(MODELS)
    ]
    return pd.DataFrame(rows)


def test_differences_to_lda_have_a_table_of_their_own(units, tmp_path):
    units["model"] = units["model"].replace("logistic_ridge", "shrinkage_lda")
    lines = write_tables(units, tmp_path)
    start = lines.index("n = 40: minus shrinkage_lda")
    assert lines[start + 1].split() == ["oracle", *MODELS[3:-1]]  # the last goes on below
    assert (
        " ".join(lines[start + 2].split()[:7]) == "null +0.43 [+0.43, +0.43] +0.01 [+0.01, +0.01]"
    )
    text = (tmp_path / "power.md").read_text("utf-8")
    assert "AUC minus that of shrinkage_lda, paired by draw:" in text


def test_lines_fit_and_hold_every_model(units):
    lines = terminal_lines(summarise(units))
    assert max(map(len, lines)) <= WIDTH == 110
    assert lines.count("n = 40") == lines.count("n = 140") == 1
    heads = [line for line in lines if line.startswith(" ")]
    # the seven models take two lines of AUCs and two of differences, for either n
    assert len(heads) == 8
    assert " ".join(heads[:2]).split() == list(MODELS)
    assert " ".join(heads[2:4]).split() == ["best", "linear", "oracle", *MODELS[3:]]
    rows = [line for line in lines if line.startswith("two_contrasts")]
    assert len(rows) == 8
    assert "0.96 [0.83, 1.00]" in rows[0]


def test_files_hold_the_figures(units, tmp_path):
    write_tables(units, tmp_path)
    table = pd.read_csv(tmp_path / "power.tsv", sep="\t", keep_default_na=False)
    assert len(table) == 2 * 2 * len(MODELS)
    assert set(table["regime"]) == {"null", "two_contrasts"}
    text = (tmp_path / "power.md").read_text("utf-8")
    heads = [line for line in text.splitlines() if line.startswith("## ")]
    assert heads == ["## n = 40", "## n = 140"]
    assert "| regime | oracle | linear_svm | logistic_ridge | plain | resnet |" in text
    rows = [line for line in text.splitlines() if line.startswith("| two_contrasts |")]
    assert rows[0].split(" | ")[1:3] == ["0.96 [0.83, 1.00]", "0.52 [0.39, 0.65]"]
    difference = ["+0.43 [+0.43, +0.43]", "+0.01 [+0.01, +0.01], 2%"]
    assert rows[1].split(" | ")[1:4] == ["logistic_ridge", *difference]
