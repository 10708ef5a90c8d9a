import pytest

from fmnet.report.run_words import input_line, map_words, mean_sd, runs_line, volumes_words
from fmnet.report.runs import describe_runs


@pytest.mark.parametrize(
    ("maps", "words"),
    [
        (["alff", "falff", "reho", "temporal_sd"], "ALFF, fALFF, ReHo, temporal SD"),
        (["seed:pcc=0,-52,26"], "connectivity with seed pcc at 0, -52, 26 mm"),
        (["contrast:pain=hot - warm"], "z of contrast pain = hot - warm"),
    ],
)
def test_maps_are_named_as_papers_do(maps, words):
    assert map_words(maps) == words


def test_series_are_not_called_maps(build_bold_study):
    cohort = build_bold_study(["alff"]).cohort
    assert input_line(describe_runs(cohort, True, 0)) == (
        "cleaned BOLD series (task rest); baselines of maps read ALFF"
    )
    assert input_line(describe_runs(cohort, False, 0)) == (
        "maps of cleaned BOLD runs (task rest): ALFF"
    )


def test_runs_are_summed_up_in_a_line(build_bold_study):
    cohort = build_bold_study().cohort
    assert runs_line(describe_runs(cohort, True, 0)) == (
        "40 BOLD runs, T_R 2.2 s; volumes left of a scan: 90 (89 to 180); mean framewise "
        "displacement 0.20 mm (SD 0.00) in FM and 0.10 mm (SD 0.00) in HC"
    )
    line = runs_line(describe_runs(cohort.subset([0]), True, 0))
    assert line == "2 BOLD runs, T_R 2.2 s; volumes left of a scan: 180"


def test_what_is_not_known_is_a_dash():
    assert mean_sd(None, 2) == volumes_words(None) == "-"
    assert mean_sd([0.123, None], 2, " mm") == "0.12 mm"
    assert volumes_words([100, 100, 100]) == "100"
