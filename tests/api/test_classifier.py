"""`fmnet.SignatureClassifier` as users of scikit-learn and nilearn expect it."""

import pickle
import warnings

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from fmnet import SignatureClassifier
from fmnet.api import classifier
from fmnet.data.template import build_grid
from fmnet.errors import CohortError, ConfigError, FoldsError, InputError, VolumeError

IMAGES = "takes images and no arrays; "
#: Checks of scikit-learn's that fit arrays of numbers, and which test here does the same on images.
EXPECTED_FAILURES = {
    "check_fit_score_takes_y": f"{IMAGES}test_learns_and_scores",
    "check_estimators_overwrite_params": f"{IMAGES}test_fit_keeps_parameters",
    "check_dont_overwrite_parameters": f"{IMAGES}test_fit_keeps_parameters",
    "check_estimators_fit_returns_self": f"{IMAGES}test_learns_and_scores",
    "check_readonly_memmap_input": IMAGES,
    "check_n_features_in_after_fitting": f"{IMAGES}test_counts_its_elements",
    "check_n_features_in": f"{IMAGES}test_counts_its_elements",
    "check_positive_only_tag_during_fit": IMAGES,
    "check_estimators_dtypes": f"{IMAGES}test_labels_may_be_of_any_type",
    "check_dtype_object": IMAGES,
    "check_estimators_empty_data_messages": IMAGES,
    "check_pipeline_consistency": f"{IMAGES}test_is_the_same_in_a_pipeline",
    "check_estimators_nan_inf": f"{IMAGES}of maps NaN is the background",
    "check_estimators_pickle": f"{IMAGES}test_survives_pickling",
    "check_f_contiguous_array_estimator": IMAGES,
    "check_classifier_data_not_an_array": IMAGES,
    "check_classifiers_classes": f"{IMAGES}test_labels_may_be_of_any_type",
    "check_classifiers_train": f"{IMAGES}test_learns_and_scores",
    "check_supervised_y_2d": f"{IMAGES}test_labels_may_be_of_any_type",
    "check_decision_proba_consistency": f"{IMAGES}test_decisions_and_probabilities_agree",
    "check_methods_sample_order_invariance": f"{IMAGES}test_a_score_depends_on_no_other_scan",
    "check_methods_subset_invariance": f"{IMAGES}test_a_score_depends_on_no_other_scan",
    "check_fit2d_1feature": IMAGES,
    "check_dict_unchanged": f"{IMAGES}test_scoring_changes_nothing",
    "check_fit_idempotent": f"{IMAGES}test_the_same_fit_twice",
    "check_fit_check_is_fitted": f"{IMAGES}test_says_that_it_is_not_fitted",
    "check_fit2d_predict1d": IMAGES,
}
N = 16


@pytest.fixture(scope="module")
def brain():
    return build_grid(12)


@pytest.fixture(scope="module")
def maps(brain):
    """Maps of N people in memory; those of the second group are higher on the left."""
    rng = np.random.default_rng(7)
    values = rng.normal(size=(N, *brain.shape)).astype(np.float32)
    values[N // 2 :, : brain.shape[0] // 3] += 1.0
    values[:, ~brain.mask] = 0
    return [nib.Nifti1Image(one, brain.affine) for one in values]


@pytest.fixture(scope="module")
def y():
    return np.repeat(["a", "b"], N // 2)


@pytest.fixture(scope="module")
def paths(maps, tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    for number, one in enumerate(maps):
        copy = nib.Nifti1Image(one.get_fdata(dtype=np.float32), one.affine)
        nib.save(copy, folder / f"sub-{number:02d}_contrast-pain_stat-z_statmap.nii.gz")
    return [str(path) for path in sorted(folder.iterdir())]


def build(settings=None, **named):
    """A network of one path, on a coarse grid: a fit takes half a second."""
    quick = {"network.paths": ["fine"]} if named.get("network") is None else {}
    given = {"voxel_size_mm": 12, "inner_splits": 2, "settings": {**quick, **(settings or {})}}
    return SignatureClassifier(**given | named)


@pytest.fixture(scope="module")
def fitted(maps, y):
    return build().fit(maps, y)


@pytest.fixture(scope="module")
def scores(fitted, maps):
    return fitted.decision_function(maps)


def test_passes_the_checks_of_scikit_learn():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check_estimator(
            build(), expected_failed_checks=EXPECTED_FAILURES, on_fail=None, on_skip=None
        )
    status = {}
    for one in found:
        status.setdefault(one["check_name"], set()).add(one["status"])
    assert [name for name, how in status.items() if "failed" in how] == []
    # whatever begins to pass is taken off the list
    assert {name for name, how in status.items() if "xfail" in how} == set(EXPECTED_FAILURES)
    assert sum("passed" in how for how in status.values()) >= 20


def test_learns_and_scores(maps, y, fitted, scores):
    assert list(fitted.classes_) == ["a", "b"]
    assert scores.shape == (N,)
    assert fitted.score(maps, y) == (fitted.predict(maps) == y).mean() > 0.9
    assert isinstance(fitted, SignatureClassifier)  # what `fit` returned


def test_larger_scores_speak_for_the_second_class(maps, y, fitted, scores):
    swapped = build().fit(maps, np.where(y == "a", "z", "b"))
    assert list(swapped.classes_) == ["b", "z"]
    assert scores[y == "b"].min() > scores[y == "a"].max()
    other = swapped.decision_function(maps)
    assert other[y == "a"].min() > other[y == "b"].max()


def test_decisions_and_probabilities_agree(maps, fitted, scores):
    probability = fitted.predict_proba(maps)
    assert probability.shape == (N, 2)
    assert_allclose(probability.sum(axis=1), 1)
    assert (np.diff(probability[np.argsort(scores), 1]) >= 0).all()
    assert list(fitted.predict(maps)) == list(fitted.classes_[(probability[:, 1] > 0.5) * 1])


def test_a_score_depends_on_no_other_scan(maps, fitted, scores):
    order = np.random.default_rng(0).permutation(N)
    assert_allclose(fitted.decision_function([maps[row] for row in order]), scores[order], 1e-5)
    assert_allclose(fitted.decision_function(maps[3:5]), scores[3:5], rtol=1e-5)
    assert_allclose(fitted.decision_function([maps[3], maps[3]]), scores[[3, 3]], rtol=1e-5)


def test_the_same_fit_twice(maps, y, fitted, scores):
    again = clone(fitted)
    for _ in range(2):
        assert_allclose(again.fit(maps, y).decision_function(maps), scores, rtol=1e-5)


def test_paths_tables_and_volumes_are_the_same_maps(maps, paths, y, fitted, scores):
    assert_allclose(fitted.decision_function(paths), scores, rtol=1e-4, atol=1e-5)
    assert_allclose(fitted.decision_function(nib.concat_images(maps)), scores, rtol=1e-5)
    table = pd.DataFrame({"participant_id": [f"p{row}" for row in range(N)], "path": paths})
    of_table = build().fit(table, y)
    # people of other names are dealt to other inner folds
    assert np.corrcoef(of_table.decision_function(table), scores)[0, 1] > 0.9
    assert of_table.decision_function(table[2:4]).shape == (2,)


def test_fit_keeps_parameters(maps, y):
    model = build(settings={"batch_size": 4}, random_state=np.random.RandomState(3))
    before = {name: repr(value) for name, value in model.get_params().items()}
    model.fit(maps, y)
    own = {name for name in vars(model) if name not in before}
    assert all(name.endswith("_") or name.startswith("_") for name in own)
    after = {name: repr(value) for name, value in model.get_params().items()}
    assert after == before


def test_scoring_changes_nothing(maps, fitted):
    before = {name: id(value) for name, value in vars(fitted).items()}
    fitted.predict_proba(maps[:2])
    assert {name: id(value) for name, value in vars(fitted).items()} == before


def test_says_that_it_is_not_fitted(maps):
    for method in ("predict", "decision_function", "predict_proba", "report"):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            getattr(build(), method)(*([] if method == "report" else [maps]))


def test_counts_its_elements(fitted, brain):
    assert fitted.n_elements_ == brain.n_voxels


@pytest.mark.parametrize("kind", [bool, float, object])
def test_labels_may_be_of_any_type(maps, y, kind):
    labels = y.astype(object) if kind is object else (y == "b").astype(kind)
    with pytest.warns(UserWarning, match="column-vector"):
        model = build().fit(maps, labels[:, None])
    assert model.classes_.dtype == labels.dtype
    assert set(model.predict(maps[:3])) <= set(labels)


def test_survives_pickling(maps, fitted, scores):
    again = pickle.loads(pickle.dumps(fitted))
    assert_allclose(again.decision_function(maps), scores, rtol=1e-5)
    assert not hasattr(again, "_given")  # nobody is handed the brains of the training people
    with pytest.raises(InputError, match="pickled"):
        again.export("nowhere")


def test_leaves_the_random_numbers_of_others_alone(maps, y):
    np.random.seed(4)  # noqa: NPY002 (it is this one that a fit could disturb)
    torch.manual_seed(4)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    build().fit(maps, y)
    assert_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])


def test_is_the_same_in_a_pipeline(maps, y, fitted, scores):
    assert_allclose(make_pipeline(clone(fitted)).fit(maps, y).decision_function(maps), scores, 1e-5)


def test_cross_validation_keeps_to_its_folds(paths, y):
    scores = cross_val_score(build(), paths, y, cv=2, scoring="roc_auc")
    assert scores.shape == (2,)
    assert scores.mean() > 0.8
    table = pd.DataFrame({"participant_id": [f"p{row}" for row in range(N)], "path": paths})
    groups = np.tile(np.arange(N // 2), 2)
    predicted = cross_val_predict(
        build(), table, y, cv=GroupKFold(2), groups=groups, params={"groups": groups}
    )
    assert set(predicted) == {"a", "b"}


def test_a_grid_search_chooses_among_settings(paths, y, tmp_path):
    model = build(memory=tmp_path / "decoded")
    search = GridSearchCV(model, {"fwhm_mm": [0.0, 20.0]}, cv=2, scoring="roc_auc")
    assert search.fit(paths, y).best_params_["fwhm_mm"] in {0.0, 20.0}
    assert any((tmp_path / "decoded").iterdir())


def test_families_are_never_split(maps, y, monkeypatch):
    """Inner folds hold whole families, and all scans of a person."""
    seen = []

    def watched(cohort, *given):
        seen.append((cohort, classifier_folds(cohort, *given)))
        return seen[-1][1]

    classifier_folds = classifier.build_inner_folds
    monkeypatch.setattr(classifier, "build_inner_folds", watched)
    groups = np.tile(np.arange(N // 2), 2)
    build().fit(maps, y, groups=groups)
    ((cohort, fold),) = seen
    units = cohort.unit_of
    parts = [{units[person] for person in part} for part in fold.validation]
    assert sum(map(len, parts)) == len(set.union(*parts)) == N // 2


def test_weights_lie_in_the_brain_and_say_what_they_are(maps, fitted, brain, scores):
    weights = fitted.weights_img_.get_fdata()
    assert weights.shape == brain.shape
    assert not weights[~brain.mask].any()
    assert "linear part, 100%" in fitted.weights_kind_
    # exact: the score is a sum over voxels, but for a constant
    linear = [(one.get_fdata() * weights)[brain.mask].sum() for one in maps]
    assert_allclose(linear - np.mean(linear), scores - np.mean(scores), atol=1e-3)


def test_a_network_trained_by_gradients(maps, y):
    model = build(
        network="small_cnn",
        max_epochs=2,
        settings={"network.channels": [2, 3], "optimizer.lr": 0.01},
    )
    model.fit(maps, y)
    assert 1 <= model.n_epochs_ <= 2
    assert model.weights_kind_.startswith("mean gradient")
    assert model.weights_img_.get_fdata().any()
    assert np.isfinite(model.decision_function(maps)).all()


def test_several_contrasts_in_any_order(paths, maps, y, tmp_path):
    pairs = []
    for number, one in enumerate(maps):
        path = tmp_path / f"sub-{number:02d}_contrast-cold_stat-z_statmap.nii.gz"
        nib.save(nib.Nifti1Image(one.get_fdata()[:, ::-1], one.affine), path)
        pairs.append((paths[number], str(path)))
    model = build(contrasts=["pain", "cold"]).fit(pairs, y)
    assert model.weights_img_.shape[-1] == 2
    assert_allclose(
        model.decision_function([pair[::-1] for pair in pairs]), model.decision_function(pairs)
    )
    with pytest.raises(InputError, match="1 images for scan 1"):
        model.predict(paths)


def test_without_anything_to_learn_it_stays_at_chance(maps, fitted):
    """With a flat calibration probabilities are one half, and scores still rank."""
    flat = clone(fitted).fit(maps, np.tile(["a", "b"], N // 2))
    flat.calibration_ = type(flat.calibration_)(0.0, 0.0)
    assert_allclose(flat.predict_proba(maps), 0.5)
    assert np.ptp(flat.decision_function(maps)) > 0


def test_report_says_what_it_does_not_know(fitted, tmp_path):
    page = fitted.report()
    page.save_as_html(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "not how well it works on other people" in text
    assert "8 a, 8 b" in text
    assert text.count("data:image/png") == 1
    assert "<h1>" in page._repr_html_()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"y": ["a"] * N}, InputError, "1 class"),
        ({"y": np.arange(N) % 3}, InputError, "Only binary"),
        ({"y": ["a", "b"]}, InputError, "2 values for 16 scans"),
        ({"y": [np.nan, *np.ones(N - 1)]}, InputError, "NaN"),
        ({"y": None}, InputError, "requires y"),
        ({"imgs": np.ones((N, 3))}, InputError, "ndarray"),
        ({"settings": {"trainer.max_epoch": 3}}, ConfigError, "max_epoch"),
        ({"network": "smal_cnn"}, ConfigError, "small_cnn"),
        ({"voxel_size_mm": 4.5}, ConfigError, "voxel_size_mm"),
        ({"inner_splits": 9}, FoldsError, "inner folds"),
    ],
)
def test_says_what_is_wrong(maps, y, change, error, message):
    given = {"imgs": maps, "y": y} | change
    imgs, labels = given.pop("imgs"), given.pop("y")
    with pytest.raises(error, match=message):
        build(**given).fit(imgs, labels)


def test_one_image_under_two_names_is_a_leak(maps, y):
    with pytest.raises(CohortError, match=r"sub-001 \(0001/image-0001\.nii\): found the same"):
        build().fit([maps[0], *maps[:-1]], y)


def test_an_image_of_no_use_is_named(fitted, maps):
    with pytest.raises(VolumeError, match=r"nowhere\.nii"):
        fitted.predict(["nowhere.nii", maps[0]])


def test_rows_of_a_table_are_scans(paths, y):
    table = pd.DataFrame({"participant_id": "p", "path": paths, "contrast": ["one", "two"] * 8})
    with pytest.raises(InputError, match="several contrasts"):
        build().fit(table, y)
