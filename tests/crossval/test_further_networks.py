from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pytorch_lightning.callbacks import EarlyStopping
from torch.optim import SGD

from fmnet.baselines.base import Dummy
from fmnet.crossval.fold_loop import NO_MAPS, Pipeline, TrainedNetwork, crossvalidate, fold_seed
from fmnet.crossval.further_networks import FurtherNetwork, check_networks, plan_networks
from fmnet.crossval.leaks import check_leaks
from fmnet.crossval.permutation import PermutationPlan, run_permutations
from fmnet.data.folds import Fold
from fmnet.data.scans import Series
from fmnet.errors import ConfigError, LeakError
from fmnet.networks.backbones import build_small_cnn
from fmnet.networks.closed_form import build_scale_space
from fmnet.networks.series import build_learned_seeds
from fmnet.runs.checkpoints import FoldCheckpoints
from fmnet.training import fit
from fmnet.training.augmentation import Augmentation
from fmnet.training.compute import Compute
from fmnet.training.fit import FoldTask, Trainable, train_on_folds
from fmnet.training.loggers import build_csv_logger
from fmnet.training.trainer import CPU_TRAINER

SHAPE = (1, 7, 8, 9)
CNN = partial(build_small_cnn, channels=[2])
FOCAL = partial(build_scale_space, paths=["focal"])
OTHER_FOCAL = partial(FOCAL, power=2.0)
OWN = Trainable(FOCAL, batch_size=8)
SMALL = FurtherNetwork(CNN, fwhm_mm=8.0, max_epochs=2)
FITTED = FurtherNetwork(OTHER_FOCAL, max_epochs=0)


def checked(models, study=OWN, taken=()):
    return check_networks(models, study, taken, Compute(), SHAPE)


def planned(scans, study=OWN, **models):
    """Networks of a study as they are trained, by name."""
    networks = checked(models, study)
    own = replace(networks.own, n_stacked=1)
    return own, plan_networks(models, networks, Compute(), scans, 3)


def pipeline_of(scans, study=OWN, **models) -> Pipeline:
    own, further = planned(scans, study, **models)
    return Pipeline(own, {**further, "dummy": Dummy()}, lambda _: [], 3)


def test_further_network_is_trained_as_the_study_but_for_what_it_says():
    study = replace(OWN, batch_size=4, callbacks=(EarlyStopping("val/loss"),))
    one = FurtherNetwork(CNN, max_epochs=5, optimizer=partial(SGD, lr=0.1))
    found = checked({"plain": one}, study).further["plain"]
    assert (found.build_network, found.max_epochs, found.batch_size) == (CNN, 5, 4)
    assert (found.build_optimizer, found.callbacks) == (one.optimizer, study.callbacks)


@pytest.mark.parametrize(
    ("own", "asked", "longest"),
    [
        (FurtherNetwork(CNN), None, 20),
        (FurtherNetwork(CNN), 7, 7),
        (FurtherNetwork(CNN, max_epochs=3), 7, 3),
        (FurtherNetwork(OTHER_FOCAL), None, 0),
        (FITTED, 7, 0),
    ],
)
def test_length_of_training_is_its_own_or_that_of_the_trainer(own, asked, longest):
    assert checked({"one": own}, replace(OWN, max_epochs=asked)).further["one"].longest == longest


def test_network_of_the_study_is_not_trained_twice(build_study):
    models = {"focal": FurtherNetwork(FOCAL, max_epochs=0), "small_cnn": SMALL}
    found = checked(models)
    assert (found.same, list(found.further)) == (("focal",), ["small_cnn"])
    assert found.said() == [
        "models.focal is the study's own network: it was trained once, as the study says"
    ]
    assert list(planned(build_study(), **models)[1]) == ["small_cnn"]
    # built otherwise, it is another
    other = checked({"focal": FITTED})
    assert (other.same, list(other.further)) == ((), ["focal"])


@pytest.mark.parametrize(
    ("further", "message"),
    [
        (FurtherNetwork(CNN, max_epochs=0), r"models\.a\.max_epochs: found 0; accepted: 1 ep"),
        (FurtherNetwork(partial(CNN, channels=[2] * 6)), r"models\.a: found a grid of 7 x 8 x"),
        (FurtherNetwork(CNN, optimizer=partial(SGD, lr=0.0)), r"models\.a\.optimizer\.lr: found 0"),
    ],
)
def test_what_is_wrong_is_said_of_the_network_it_is_wrong_in(further, message):
    with pytest.raises(ConfigError, match=message):
        checked({"a": further})


@pytest.mark.parametrize("name", ["lda", "network"])
def test_name_of_another_model_is_refused(name):
    match = rf"models\.{name}: found the name of another model; .* baselines\.{name} another name"
    with pytest.raises(ConfigError, match=match):
        checked({name: SMALL}, taken=("lda",))


def test_all_faults_of_all_networks_come_at_once():
    models = {name: FurtherNetwork(CNN, max_epochs=0) for name in ("one", "other")}
    with pytest.raises(ConfigError, match="2 faults"):
        checked(models)


def test_what_only_gradient_steps_use_is_there_for_the_networks_that_take_some():
    trainer = partial(CPU_TRAINER, gradient_clip_val=1.0)
    changing = {"callbacks": (EarlyStopping("val/loss"),), "augmentation": Augmentation()}
    study = replace(OWN, build_trainer=trainer, **changing)
    with pytest.raises(ConfigError, match="3 faults"):
        checked({}, study)
    found = checked({"small_cnn": SMALL, "fitted": FITTED}, study)
    for fitted in (found.own, found.further["fitted"]):
        assert (fitted.callbacks, fitted.augmentation) == ((), None)
    assert found.further["small_cnn"].callbacks == study.callbacks


def test_scores_are_those_of_the_network_by_itself_on_maps_of_its_own_smoothing(build_study, fold):
    scans = build_study()
    pipeline = pipeline_of(scans, small_cnn=SMALL)
    table, epochs = crossvalidate(pipeline, scans, [fold])
    alone = scans.with_smoothing(8.0)
    task = FoldTask(alone, fold, fold_seed(3, 0, 0), "alone")
    (one,) = train_on_folds(replace(OWN, build_network=CNN, max_epochs=2), [task])
    rows = table[table["model"] == "small_cnn"]
    np.testing.assert_allclose(rows["score"], one.scores(scans.rows(fold.test)), rtol=1e-6)
    np.testing.assert_allclose(rows["probability"], one.calibration.probability(rows["score"]))
    assert list(table["model"].unique()) == ["network", "small_cnn", "dummy"]
    assert epochs == {"network": [0], "small_cnn": [one.n_epochs]}
    # and the network of the study is as if it were alone
    lone, _ = crossvalidate(replace(pipeline, baselines={}), scans, [fold])
    own = table[table["model"] == "network"]["score"]
    assert own.tolist() == lone["score"].tolist()


def test_it_says_what_it_is(build_study):
    pipeline = pipeline_of(build_study(), small_cnn=SMALL, focal=FITTED)
    kinds, titles = pipeline.describe([0])
    assert kinds["small_cnn"] == "gradient"
    assert kinds["focal"] == kinds["network"] == "closed form"
    assert titles["small_cnn"] == "small CNN"
    assert titles["focal"] == "scale space (closed form) (focal)"


def test_folds_that_are_done_hold_all_networks(build_study, fold, tmp_path, monkeypatch):
    scans = build_study()
    pipeline, kept = pipeline_of(scans, small_cnn=SMALL), FoldCheckpoints(tmp_path)
    table, epochs = crossvalidate(pipeline, scans, [fold], checkpoints=kept)
    monkeypatch.setattr(TrainedNetwork, "score_folds", None)  # nothing is trained again
    again, same = crossvalidate(pipeline, scans, [fold], checkpoints=kept)
    assert again["score"].tolist() == table["score"].tolist()
    assert same == epochs


def test_folds_go_together_as_the_network_with_most_side_by_side_asks(build_study, fold):
    scans, halves = build_study(), (fold.train[10:], fold.test)
    folds = [fold, Fold(0, 1, halves[0] + halves[1], fold.train[:10], halves)]
    single = pipeline_of(scans, small_cnn=replace(SMALL, max_epochs=1))
    one = single.baselines["small_cnn"]
    stacked = replace(one, trainable=replace(one.trainable, n_stacked=6))
    together = replace(single, baselines={"small_cnn": stacked})
    assert together.folds_together(folds) == 3
    tables = [
        crossvalidate(pipeline, scans, folds)[0]
        for pipeline in (replace(single, baselines={"small_cnn": one}), together)
    ]
    np.testing.assert_allclose(tables[1]["score"], tables[0]["score"], rtol=1e-3, atol=1e-4)


def test_it_is_permuted_where_that_is_asked_for_and_quietly(build_study, fold, tmp_path):
    scans = build_study()
    study = replace(OWN, build_loggers=(build_csv_logger,), log_dir=tmp_path / "logs")
    pipeline = replace(pipeline_of(scans, study, small_cnn=SMALL), build_folds=lambda _: [fold])
    null = run_permutations(pipeline, scans, PermutationPlan(2), tmp_path / "without")
    assert set(null) == {"network"}
    asked = PermutationPlan(2, models=["small_cnn"])
    null = run_permutations(pipeline, scans, asked, tmp_path / "with")
    assert set(null) == {"network", "small_cnn"}
    assert not (tmp_path / "logs").exists()
    crossvalidate(pipeline, scans, [fold])
    logged = {path.name for path in (tmp_path / "logs" / "csv").iterdir()}
    assert "small_cnn_repeat-0_fold-0_inner-1" in logged


def test_further_network_that_learns_from_test_scans_is_refused(build_study, fold, monkeypatch):
    scans = build_study()
    own, further = planned(scans, small_cnn=SMALL)
    check_leaks(further, scans, fold, 0, own)
    honest = fit.FoldTask.outer_training

    def on_everybody(task, *given):
        training = honest(task, *given)
        everybody = np.arange(len(training.scans.values))
        return replace(training, train=everybody) if training.n_epochs else training

    monkeypatch.setattr(fit.FoldTask, "outer_training", on_everybody)
    with pytest.raises(LeakError, match="network 'small_cnn': found something that changes"):
        check_leaks(further, scans, fold, 0, own)


def test_maps_are_smoothed_once_for_all_networks_of_a_width(build_study):
    scans = build_study()
    one, other = (scans.with_smoothing(8.0) for _ in range(2))
    assert one.smoothed(8.0) is other.smoothed(8.0) is scans.smoothed(8.0)
    assert one.settings.fwhm_mm == 8.0
    assert scans.with_smoothing(None).settings == scans.settings


def test_each_network_reads_maps_or_series_as_it_needs(build_study):
    runs = tuple(Series((Path("run.nii.gz"),), (40,), 2.0) for _ in range(30))
    scans = replace(build_study(), series=runs)
    seeds = partial(build_learned_seeds, n_seeds=3)
    reader = TrainedNetwork(Trainable(seeds, max_epochs=0), 0, "seeds")
    plain = TrainedNetwork(Trainable(CNN, max_epochs=1), 0, "plain")
    assert reader.own_scans(scans).reads_series
    assert not plain.own_scans(scans.reading_series(0)).reads_series
    harmonised = scans.harmonised(lambda values, _: values)
    assert (reader.lacks(harmonised), plain.lacks(harmonised)) == (NO_MAPS, "")
    assert reader.lacks(scans) == ""
