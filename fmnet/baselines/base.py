"""What a study holds beside its network: models, baselines among them, and the dummy."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fmnet.data.cohort import relabel
from fmnet.data.folds import Fold
from fmnet.data.outcomes import Outcomes
from fmnet.data.volume import FloatArray
from fmnet.training.calibration import ScoreScale, fit_calibration, score_scale
from fmnet.training.scan_set import Rows, ScanSet
from fmnet.types import ModelKind

Scores = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FoldScores:
    """What a model says about the scans of one test fold.

    Parameters
    ----------
    score, probability : ndarray of float, shape (N_test,)
        Raw, and calibrated on the inner folds of the training subjects, for groups equally common.
        Of targets other than two groups scores are (N_test, K), and probabilities NaN.
    n_epochs : int, optional
        Of a network, the length of training that the inner folds chose.
    outputs : dict of ndarray of float, shape (N_test,)
        What the scores of such targets mean, by a link that was fitted on the inner folds.
    """

    score: Scores
    probability: Scores
    n_epochs: int | None = None
    outputs: Mapping[str, Scores] = field(default_factory=dict)


class Model(ABC):
    """Whatever learns from the training subjects of folds and scores their test subjects.

    Attributes
    ----------
    model_kind : str
        What it is, see `fmnet.types.ModelKind`.
    title : str
        What it is called in reports; empty for its name in the configuration.
    is_exportable : bool
        Whether it comes to a weight for each voxel, as `fmnet.baselines.linear.VoxelModel` does.
    is_for_outcomes : bool
        Whether it serves targets other than two groups, and only those.
    """

    model_kind: ClassVar[ModelKind] = "other"
    title: ClassVar[str] = ""
    is_exportable: ClassVar[bool] = False
    is_for_outcomes: ClassVar[bool] = False

    @property
    def n_stacked(self) -> int:
        """How many trainings it does side by side."""
        return 1

    def describe(self, name: str) -> tuple[ModelKind, str]:
        """Say what it is, and what it is called in reports, by its name in a configuration."""
        return self.model_kind, self.title or name.replace("_", " ")

    def lacks(self, data: ScanSet) -> str:
        """Say what the cohort would have to have; empty if nothing is missing."""
        return ""

    def quiet(self) -> Self:
        """Leave out what only a study's own trainings need, as loggers."""
        return self

    @abstractmethod
    def score_folds(
        self, work: Sequence[tuple[ScanSet, Fold]], is_calibrated: bool = True, title: str = ""
    ) -> list[FoldScores]:
        """Make all choices on the inner folds, fit on ``fold.train``, score ``fold.test`` once.

        The labels of the scans may differ from one fold to the next. Probabilities, which take fits
        of their own, are NaN unless they are asked for. `title` is shown before a progress bar, if
        there is one; empty for none.
        """

    def scores_of_labelings(
        self, data: ScanSet, fold: Fold, labelings: NDArray[np.int64]
    ) -> Scores:
        """Learn a fold under many labelings of all scans, (L, N), every choice made anew.

        Returns
        -------
        ndarray, shape (L, N_test)
            Scores of the test scans, those of `score_folds` labeling by labeling.
        """
        work = [(data.relabel(relabel(data.cohort, own)), fold) for own in labelings]
        return np.stack([one.score for one in self.score_folds(work, is_calibrated=False)])

    def scores_of_responses(self, data: ScanSet, fold: Fold, orders: Sequence[Outcomes]) -> Scores:
        """Learn a fold under many outcomes of all scans, every choice made anew.

        Returns
        -------
        ndarray, shape (L, N_test, K)
            Scores of the test scans, those of `score_folds` one after the other.
        """
        work = [(data.with_outcomes(own), fold) for own in orders]
        return np.stack([one.score for one in self.score_folds(work, is_calibrated=False)])

    def weights_of_labelings(
        self,
        data: ScanSet,
        fold: Fold,
        labelings: NDArray[np.int64],
    ) -> FloatArray | None:
        """Learn a fold under many labelings of all scans, (L, N), and weigh voxels in each.

        Every choice is made anew on the inner folds; test scans have no part in it.

        Returns
        -------
        ndarray of float32, shape (L, C, V), or None
            In units of score per unit of the unsmoothed map. None of what has no such weights.
        """
        return None


class Baseline(Model):
    """A model that chooses its settings, then fits and scores any scans with them."""

    def choose(self, data: ScanSet, fold: Fold) -> Any:
        """Choose settings on the inner folds of ``fold.train``; None if there is no choice."""
        return None

    @abstractmethod
    def scores(self, data: ScanSet, train: Rows, test: Rows, choice: Any) -> Scores:
        """Fit on the training scans with the settings chosen and score others.

        Returns
        -------
        ndarray, shape (N_test,) or (N_test, K)
            K scores for targets other than two groups.
        """

    def score_folds(
        self,
        work: Sequence[tuple[ScanSet, Fold]],
        is_calibrated: bool = True,
        title: str = "",
    ) -> list[FoldScores]:
        """Score folds one after the other, see `Model`."""
        return [self._score_fold(data, fold, is_calibrated) for data, fold in work]

    def _score_fold(self, data: ScanSet, fold: Fold, is_calibrated: bool) -> FoldScores:
        choice = self.choose(data, fold)
        score = self.scores(data, data.rows(fold.train), data.rows(fold.test), choice)
        unknown = np.full(len(score), np.nan)
        if not is_calibrated:
            return FoldScores(score, unknown)
        inner, held_out = _inner_scores(self, data, fold, choice)
        if data.target is not None:
            link = data.target.fit_link(inner, data.outcomes.take(held_out))
            return FoldScores(score, unknown, outputs=link.outputs(score))
        participants = [data.participant_ids[row] for row in held_out]
        # as if of one model: settings chosen on these scores flatter about as much as models of the
        # inner folds, which learned from fewer participants, fall short
        calibration = fit_calibration(inner, data.labels[held_out], participants)
        return FoldScores(score, calibration.probability(score))


def score_fold(model: Model, data: ScanSet, fold: Fold, is_calibrated: bool = True) -> FoldScores:
    """Let a model learn on one fold and score its test subjects, see `Model.score_folds`."""
    (scores,) = model.score_folds([(data, fold)], is_calibrated)
    return scores


def unseen_scale(baseline: Baseline, data: ScanSet, fold: Fold, choice: Any) -> ScoreScale:
    """Find the scale on which a baseline of these settings scores participants it has not seen."""
    scores, held_out = _inner_scores(baseline, data, fold, choice)
    return score_scale(scores, data.labels[held_out])


def _inner_scores(
    baseline: Baseline, data: ScanSet, fold: Fold, choice: Any
) -> tuple[Scores, Rows]:
    """Score the scans held out of each inner fold, and give their rows."""
    inner = data.inner_rows(fold)
    scores = np.concatenate([baseline.scores(data, *rows, choice) for rows in inner])
    return scores, np.concatenate([held_out for _, held_out in inner])


@dataclass(frozen=True)
class Dummy(Baseline):
    """Scores everybody alike."""

    model_kind = "chance"
    title = "dummy"

    def scores(self, data: ScanSet, train: Rows, test: Rows, choice: Any) -> Scores:
        """Score every scan with 0."""
        return np.zeros(len(test))
