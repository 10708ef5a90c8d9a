import json
from dataclasses import replace

import pytest

from fmnet.report.methods import (
    describe_runs,
    input_line,
    map_words,
    mean_sd,
    methods_paragraphs,
    runs_line,
    tripod_rows,
    volumes_words,
)

SEEDS = {
    "_target_": "fmnet.networks.series.build_learned_seeds",
    "n_seeds": 7,
    "backbone": "scale_space",
}
MODELS = {
    "network": "closed form",
    "linear_svm": "linear",
    "connectivity_tangent": "connectivity",
}
NETWORK = {"network": "closed form"}


@pytest.fixture
def say(build_bold_study):
    """Methods of a BOLD study in one text."""

    def build(
        network=SEEDS, window_volumes=0, epochs=0, models=MODELS, shares=None, maps=("alff",),
        fwhm_mm=0.0, is_series=True, pretrained=None, **cleaning,
    ):  # fmt: skip
        cohort = build_bold_study(maps, **cleaning).cohort
        metrics = {
            "n_scans": 30, "n_subjects": 30, "n_positive": 15, "n_epochs": [epochs, epochs],
            "models": models, "kinds": models, "titles": {}, "studied": "network",
            "bold": describe_runs(cohort, is_series, window_volumes),
            "path_shares": shares or {}, "pretrained": pretrained or {},
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
    assert "Connectivity models read time series of the cleaned runs." in text
    assert "A 3D network (scale space) behind the stem got its weights" in text
    assert "75 % of the final network's score is a linear function of the stem's maps." in text
    assert "smoothed by 0" not in text
    assert "n/a" not in text


def test_windows_and_training_of_the_stem_are_said(say):
    text = say(window_volumes=40, epochs=3, models=NETWORK)
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


PRETRAINED = {
    "sha256": "ab12", "is_shipped": True, "network": "UNet", "n_parameters": 285123,
    "voxel_size_mm": 8.0, "record": {"figures": {"episodes": 100000.0}},
}  # fmt: skip
PRIOR = {"_target_": "fmnet.networks.closed_form.build_prior_cnn"}


def test_pretrained_cnn_is_said_to_have_learned_elsewhere(say):
    shares = {"prior": 0.25, "focal": 0.5, "voxel_pairs": 0.25}
    text = say(PRIOR, is_series=False, shares=shares, pretrained=PRETRAINED)
    assert (
        "A 3D network (prior CNN) got its weights from the training scans without a gradient step "
        "on them: a CNN (UNet of MONAI, 285,123 parameters) that had been pretrained by gradient "
        "on 100,000 simulated cohorts (SHA-256 of its weights: ab12) read t-values" in text
    )
    assert "wrote a linear signature. Beside that, in closed form: filters of" in text
    assert "the signature that the CNN wrote 25 %, weights of single voxels 50 %" in text
    assert "75 % of the final network's score is a linear map; a pretrained CNN wrote 25 %" in text


def test_steps_on_the_training_scans_are_told(say):
    shares = {"prior": 0.25, "adapted_100": 0.5, "voxel_pairs": 0.25}
    facts = PRETRAINED | {"adapted_steps": [100]}
    text = say(PRIOR, is_series=False, shares=shares, pretrained=facts)
    assert "without a gradient step on their labels: a CNN (UNet of MONAI" in text
    assert "it took 100 gradient steps on their scans without the labels: on differences" in text
    assert "the signature that it wrote after steps on the training scans without their" in text
    assert "75 % of the final network's score is a linear map; a pretrained CNN wrote 75 %" in text


def test_pretrained_cnn_that_was_trained_on_is_said_to_be(say):
    text = say(PRIOR, is_series=False, epochs=2, pretrained=PRETRAINED)
    assert (
        "was trained for a number of epochs chosen on inner folds (2). Before that, a CNN" in text
    )
    assert "got its weights" not in text


def test_weights_that_learned_on_maps_of_people_are_not_called_simulated(say):
    record = {"people_sha256": ["ab", "cd"]}
    text = say(PRIOR, is_series=False, pretrained=PRETRAINED | {"record": record})
    assert "on cohorts, of simulated maps and of people's, with group differences planted" in text


def test_contrasts_are_said_to_come_from_a_model_before_any_filter(say):
    network = {"_target_": "fmnet.networks.closed_form.build_scale_space"}
    text = say(network, is_series=False, maps=["contrast:pain=hot - warm"], models=NETWORK)
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
