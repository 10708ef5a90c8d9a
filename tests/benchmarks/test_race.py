import json

import pandas as pd
import pytest

from benchmarks.race import Goal, growth, race, race_table, write_results


def test_runs_rivals_in_turns_after_an_untimed_round():
    calls = []
    table = race({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, "race")
    assert calls == ["a", "b"] * 3
    assert list(table["rival"]) == ["a", "b"]


def test_compares_medians_with_the_first():
    table = race_table({"ours": [1.0, 2.0, 9.0], "theirs": [8.0, 6.0, 4.0]})
    assert table["ratio"].tolist() == [1.0, 3.0]
    assert table["slowest"].tolist() == [9.0, 8.0]


@pytest.mark.parametrize(
    ("measured", "is_floor", "reached"),
    [(5.0, True, True), (4.9, True, False), (5.1, False, False)],
)
def test_goal_says_whether_it_is_reached(measured, is_floor, reached):
    goal = Goal("times as fast", measured, 5.0, is_floor)
    assert goal.is_reached == reached
    assert ("NOT reached" in str(goal)) != reached


def test_growth_is_the_exponent():
    assert growth([1, 2, 16], [3.0, 12.0, 768.0]) == pytest.approx(2.0)


def test_results_hold_machine_command_and_tables(tmp_path):
    table = pd.DataFrame({"rival": ["ours"], "seconds": [0.5]})
    lines = write_results(tmp_path, {"reading": table}, [Goal("speed", 6.0, 5.0)], {"n": 1})
    kept = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert kept["tables"]["reading"] == [{"rival": "ours", "seconds": 0.5}]
    assert kept["goals"][0]["is_reached"] is True
    assert {"command", "device", "versions", "settings"} <= set(kept)
    assert (tmp_path / "reading.tsv").is_file()
    assert lines[-1] == "speed: 6 (at least 5 wanted: reached)"
