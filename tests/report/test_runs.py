import json

import pytest

from fmnet.report.runs import describe_runs


def test_runs_are_described_group_by_group(build_bold_study):
    bold = describe_runs(build_bold_study(fd_threshold=0.5).cohort, True, 40)
    assert (bold["reads"], bold["window_volumes"], bold["task"]) == ("series", 40, "rest")
    assert (bold["t_r"], bold["cleaning"]["fd_threshold"]) == (2.2, 0.5)
    both, (controls, patients) = bold["all"], bold["groups"]
    assert (both["n_scans"], both["n_runs"]) == (30, 40)
    assert [group["label"] for group in (controls, patients)] == ["HC", "FM"]
    assert controls["volumes"] == [90, 90, 180]
    assert patients["volumes"] == [89, 89, 179]
    assert controls["mean_fd_mm"] == pytest.approx([0.1, 0])
    assert patients["mean_fd_mm"] == pytest.approx([0.2, 0])
    assert patients["tsnr"] == [51, 0]
    assert both["share_scrubbed"] == pytest.approx([0.02, 0, 0.04])
    json.dumps(bold, allow_nan=False)


def test_motion_that_nobody_states_is_not_known(build_bold_study):
    cohort = build_bold_study().cohort
    bold = describe_runs(cohort.subset([0, 1]), False, 0)
    assert bold["reads"] == "maps"
    assert bold["groups"][0]["mean_fd_mm"] is None
    assert bold["groups"][1]["mean_fd_mm"] == [pytest.approx(0.2), None]
