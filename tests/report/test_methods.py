from dataclasses import replace

import pytest

from fmnet.report.methods import methods_paragraphs, tripod_rows
from fmnet.report.runs import describe_runs

SEEDS = {
    "_target_": "fmnet.networks.series.build_learned_seeds",
    "n_seeds": 7,
    "backbone": "scale_space",
}
MODELS = {"network": {}, "linear_svm": {}, "connectivity_tangent": {}}


@pytest.fixture
def say(build_bold_study):
    """Methods of a BOLD study in one text."""

    def build(
        network=SEEDS, window_volumes=0, epochs=0, models=MODELS, shares=None, maps=("alff",),
        fwhm_mm=0.0, is_series=True, **cleaning,
    ):  # fmt: skip
        cohort = build_bold_study(maps, **cleaning).cohort
        metrics = {
            "n_scans": 30, "n_subjects": 30, "n_positive": 15, "n_epochs": [epochs, epochs],
            "models": models, "bold": describe_runs(cohort, is_series, window_volumes),
            "path_shares": shares or {},
        }  # fmt: skip
        settings = {"network": network, "preparation": {"fwhm_mm": fwhm_mm}}
        return " ".join(methods_paragraphs(cohort, metrics, settings))

    return build


def test_runs_their_cleaning_and_motion_are_said(say):
    text = say(fd_threshold=0.5)
    assert "They are 40 preprocessed BOLD runs of task rest in MNI152 space, repetition" in text
    assert "Runs of one session make one scan." in text
    assert (
        "put on a 4 mm MNI152 grid, masked, cleaned of drift, 24 motion parameters and the means "
        "of white matter and CSF, band-pass filtered from 0.01 to 0.1 Hz, without volumes of more "
        "than 0.5 mm framewise displacement, and turned into percent of each voxel's mean" in text
    )
    assert "Of a scan 90 volumes were left (median; 89 to 180); scrubbing took 2%" in text
    assert "Mean framewise displacement was 0.20 mm (SD 0.00) in FM and 0.10 mm" in text


def test_network_of_series_is_not_said_to_read_maps(say):
    text = say(shares={"focal": 0.75, "contrast_products": 0.25})
    assert "The network read the cleaned series themselves, all volumes of a scan at once" in text
    assert "7 seeds, each a weight for every voxel" in text
    assert "The seeds are networks that group ICA found" in text
    assert "The linear models on voxels read maps of the runs (ALFF), standardised" in text
    assert "Connectivity models read time courses of the cleaned series." in text
    assert "A 3D network (scale space) behind the stem got its weights" in text
    assert "75 % of the final network's score is a linear function of the stem's maps." in text
    assert "smoothed by 0" not in text
    assert "n/a" not in text


def test_windows_and_training_of_the_stem_are_said(say):
    text = say(window_volumes=40, epochs=3, models={"network": {}})
    assert "in windows of 40 volumes, over which scores were averaged" in text
    assert "The seeds started from networks" in text
    assert "(scale space) behind the stem was trained together with it for a number of" in text
    assert "linear models" not in text
    assert "Connectivity models" not in text


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("temporal_filters", {"n_filters": 6, "length": 32}, "6 filters along time, of 32 volumes"),
        ("dual_regression", {"n_networks": 9}, "each scan's own form of 9 networks"),
        ("frames", {"n_frames": 8}, "8 single volumes, evenly spread"),
        ("my_own", {}, "through a stem that turns them into maps: my own."),
    ],
)
def test_every_stem_is_described(say, name, more, words):
    network = {"_target_": f"package.build_{name}", "backbone": "resnet"} | more
    assert words in say(network)


def test_network_of_maps_is_said_to_read_them(say):
    network = {"_target_": "fmnet.networks.closed_form.build_scale_space"}
    text = say(network, is_series=False, fwhm_mm=6.0)
    read = "Network and linear models read maps of the runs (ALFF), smoothed by 6 mm and standard"
    assert read in text
    assert "stem" not in text
    assert "general linear model" not in text


def test_contrasts_are_said_to_come_from_a_model_before_any_filter(say):
    network = {"_target_": "fmnet.networks.closed_form.build_scale_space"}
    text = say(network, is_series=False, maps=["contrast:pain=hot - warm"], models={"network": {}})
    assert "The network read maps of the runs (z of contrast pain = hot - warm)" in text
    assert "Contrasts come from a general linear model of each run before any filter" in text


def test_predictors_of_the_checklist_are_what_the_network_reads(build_bold_study):
    cohort = build_bold_study(["alff"]).cohort
    bold = describe_runs(cohort, True, 0)
    figures = {"n_scans": 30, "n_subjects": 30, "n_positive": 15, "models": {}}
    # notes on files would be read from them
    cohort = replace(cohort, scans=tuple(replace(scan, files=()) for scan in cohort.scans))
    for metrics, words in ((figures | {"bold": bold}, "cleaned BOLD series"), (figures, "maps: a")):
        rows = {item: says for item, _, says in tripod_rows(cohort, metrics)}
        assert words in rows["9"]
        assert rows["11"] == "nobody left out; voxels by their mean"
