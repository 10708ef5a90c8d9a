import json

import numpy as np
import pytest

from fmnet.errors import BundleError
from fmnet.inference.bundle_files import UNSEEN
from fmnet.inference.unseen_scores import (
    UnseenScores,
    gather_unseen,
    read_unseen,
    write_unseen,
)


def table(rng, scales, n=24, n_positive=9, n_repeats=1):
    """Scores of N people by K models, each of which scores in its own (middle, SD)."""
    labels = (np.arange(n) < n_positive).astype(int)
    plain = 2.0 * labels - 1 + rng.standard_normal((n_repeats, n))
    scores, models = np.empty((n_repeats, n)), np.empty((n_repeats, n), int)
    for repeat in range(n_repeats):
        models[repeat] = (np.arange(n) + repeat) % len(scales)
        middle, sd = np.array(scales, dtype=float)[models[repeat]].T
        scores[repeat] = middle + sd * plain[repeat]
        models[repeat] += len(scales) * repeat
    whose = [f"sub-{number:02d}" for number in range(n)] * n_repeats
    return scores.ravel(), np.tile(labels, n_repeats), whose, models.ravel(), plain


def test_comes_back_as_it_was_written_without_names_and_in_order(tmp_path):
    unseen = UnseenScores(np.array([-0.25, 0.5, 3.0]), np.array([-2.0, 0.125]))
    write_unseen(unseen, tmp_path / UNSEEN)
    assert json.loads((tmp_path / UNSEEN).read_text()) == {
        "positive": [-0.25, 0.5, 3.0],
        "negative": [-2.0, 0.125],
    }
    read = read_unseen(tmp_path / UNSEEN)
    np.testing.assert_array_equal(read.positive, unseen.positive)
    np.testing.assert_array_equal(read.negative, unseen.negative)


@pytest.mark.parametrize(
    ("positive", "found"),
    [
        ([], "'positive' that is not a list of numbers"),
        ([2.0, 1.0], "scores in another order"),
        ([1.0, float("nan")], "'positive' that is not"),
        ([1e7], "'positive' that is not"),
        (["1"], "'positive' that is not"),
        ({"0": 1.0}, "'positive' that is not"),
        (None, "'positive' that is not"),
    ],
)
def test_other_files_are_refused(tmp_path, positive, found):
    text = json.dumps({"positive": positive, "negative": [0.0]})
    (tmp_path / UNSEEN).write_text(text)
    with pytest.raises(BundleError, match=found):
        read_unseen(tmp_path / UNSEEN)


def test_scores_stay_as_they_are_where_the_exported_scale_is_like_theirs(rng):
    *given, plain = table(rng, [(0, 1)] * 5, n=25)
    unseen = gather_unseen(*given)
    np.testing.assert_allclose(unseen.positive, np.sort(plain[0, :9]))
    np.testing.assert_allclose(unseen.negative, np.sort(plain[0, 9:]))


def test_scales_that_differ_by_chance_are_hardly_touched(rng):
    *given, plain = table(rng, [(0, 1)] * 5, n=25)
    unseen = gather_unseen(*given, scale=(0.0, 1.0))
    middle = (unseen.positive.mean() + unseen.negative.mean()) / 2
    own = plain[0]
    moved = np.sort(own[:9]) - (own[:9].mean() + own[9:].mean()) / 2
    np.testing.assert_allclose(unseen.positive - middle, moved, atol=0.8)


def test_scales_of_their_own_are_taken_out(rng):
    *given, plain = table(rng, [(10, 1), (-30, 8), (0, 0.1)], n=120, n_positive=50)
    unseen = gather_unseen(*given, scale=(0.0, 1.0))
    assert (len(unseen.positive), len(unseen.negative)) == (50, 70)
    np.testing.assert_allclose(unseen.positive, np.sort(plain[0, :50]), atol=0.5)
    np.testing.assert_allclose(unseen.negative, np.sort(plain[0, 50:]), atol=0.5)


def test_scale_of_the_exported_model_is_theirs(rng):
    *given, _ = table(rng, [(0, 1)], n=40, n_positive=22)
    plain = gather_unseen(*given)
    moved = gather_unseen(*given, scale=(3.0, 5.0))
    middle = (moved.positive.mean() + moved.negative.mean()) / 2
    assert middle == pytest.approx(3.0)
    assert np.ptp(moved.positive) / np.ptp(plain.positive) == pytest.approx(
        np.ptp(moved.negative) / np.ptp(plain.negative)
    )


def test_people_have_one_score_spread_as_those_of_one_model(rng):
    *given, plain = table(rng, [(0, 1)], n=60, n_positive=30, n_repeats=8)
    unseen = gather_unseen(*given)
    assert len(unseen.positive) == len(unseen.negative) == 30
    # means of eight scores lie closer together
    means = plain.mean(axis=0)[:30]
    assert means.std() < 0.6
    assert unseen.positive.std() == pytest.approx(plain[:, :30].std(), rel=0.1)


def test_scores_that_are_all_alike_do_no_harm():
    given = np.zeros(9), np.arange(9) % 2, np.arange(9), np.arange(9) % 3
    unseen = gather_unseen(*given, scale=(0.0, 1.0))
    assert (unseen.positive == 0).all()
    assert (unseen.negative == 0).all()
