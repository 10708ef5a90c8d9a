"""Logistic ridge on a few numbers per scan, what all shortcut and covariate baselines share."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fmnet.baselines.base import Baseline, Scores
from fmnet.data.folds import Fold
from fmnet.training.scan_set import Rows, ScanSet
from fmnet.types import Positives


@dataclass(frozen=True)
class FeatureModel(Baseline):
    """Logistic ridge on a table of features, everything fitted on the training scans.

    Numbers are imputed by the median and standardised, texts become indicators. C is chosen by AUC
    on the inner folds; ties go to the first named.

    Parameters
    ----------
    c : list of float
        Values of C to choose from.
    """

    c: Positives = (0.01, 0.1, 1.0, 10.0)

    @abstractmethod
    def table(self, data: ScanSet) -> pd.DataFrame:
        """Tabulate the features of all scans: N rows; nothing may be fitted here."""

    def choose(self, data: ScanSet, fold: Fold) -> float:
        """Choose C."""
        table = self.table(data)
        return choose_c(self.c, data, fold, partial(_fit, table, data))

    def scores(self, data: ScanSet, train: Rows, test: Rows, choice: Any) -> Scores:
        """Fit with the C chosen."""
        return _fit(self.table(data), data, train, test, choice)


def choose_c(
    c_values: Sequence[float],
    data: ScanSet,
    fold: Fold,
    fit: Callable[[Rows, Rows, float], Scores],
) -> float:
    """Choose C by AUC on the inner folds; ties go to the first named.

    Parameters
    ----------
    c_values : sequence of float
        What to choose from.
    data : ScanSet
        Whose labels count.
    fold : Fold
        Its inner folds are used.
    fit : callable
        Takes the rows to train on, those to score, and C; gives the scores.
    """
    aucs = [
        [float(roc_auc_score(data.labels[held_out], fit(train, held_out, c))) for c in c_values]
        for train, held_out in data.inner_rows(fold)
    ]
    return c_values[int(np.mean(aucs, axis=0).argmax())]


def _fit(table: pd.DataFrame, data: ScanSet, train: Rows, test: Rows, c: float) -> Scores:
    model = _pipeline(c).fit(table.iloc[train], data.labels[train])
    return np.asarray(model.decision_function(table.iloc[test]))


def _pipeline(c: float) -> Pipeline:
    numbers = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
    )
    texts = OneHotEncoder(handle_unknown="ignore")
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (texts, make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(columns, LogisticRegression(C=c, class_weight="balanced", max_iter=1000))
