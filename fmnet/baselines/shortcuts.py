"""Logistic ridge on a few numbers per scan: covariates, and what images show besides activity."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fmnet.baselines.base import Baseline, Scores
from fmnet.baselines.linear import KernelModel, solve_svm
from fmnet.data.cohort import Cohort
from fmnet.data.covariates import find_columns
from fmnet.data.folds import Fold
from fmnet.data.grid import Grid
from fmnet.data.participants import as_numbers
from fmnet.data.volume import FloatArray
from fmnet.errors import ConfigError, Fault
from fmnet.training.scan_set import Rows, ScanSet
from fmnet.types import ModelKind, Positives


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

    model_kind = "shortcut"

    c: Positives = (0.01, 0.1, 1.0, 10.0)

    @abstractmethod
    def table(self, data: ScanSet) -> pd.DataFrame:
        """Tabulate the features of all scans: N rows; nothing may be fitted here."""

    def choose(self, data: ScanSet, fold: Fold) -> float:
        """Choose C."""
        table = self.table(data)
        return choose_c(
            self.c, data, fold, lambda train, test, c: self._fit(table, data.labels, train, test, c)
        )

    def scores(self, data: ScanSet, train: Rows, test: Rows, choice: Any) -> Scores:
        """Fit with the C chosen."""
        return self._fit(self.table(data), data.labels, train, test, choice)

    def _fit(self, table: pd.DataFrame, labels: Any, train: Rows, test: Rows, c: float) -> Scores:
        logistic = LogisticRegression(C=c, class_weight="balanced", max_iter=1000)
        model = make_pipeline(encoder(), logistic).fit(table.iloc[train], labels[train])
        return np.asarray(model.decision_function(table.iloc[test]))


def encoder() -> ColumnTransformer:
    """Turn a table into features: numbers imputed and standardised, texts as indicators."""
    numbers = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
    )
    return make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
    )


def choose_c(
    c_values: Sequence[float], data: ScanSet, fold: Fold, fit: Callable[[Rows, Rows, float], Scores]
) -> float:
    """Choose C by AUC on the inner folds; ties go to the first named.

    `fit` takes the rows to train on, those to score, and C; it gives the scores.
    """
    aucs = [
        [float(roc_auc_score(data.labels[held_out], fit(train, held_out, c))) for c in c_values]
        for train, held_out in data.inner_rows(fold)
    ]
    return c_values[int(np.mean(aucs, axis=0).argmax())]


@dataclass(frozen=True)
class Columns(FeatureModel):
    """Predicts the label from columns of the participants table, without any image.

    Parameters
    ----------
    columns : list of str
        Columns to use, as far as the cohort has them and they differ between participants. Case and
        punctuation don't matter. A name of head motion stands for all columns of head motion where
        the cohort has none of those named.
    c : list of float
        Values of C to choose from.
    symptoms : bool, optional
        Whether the columns tell of the condition itself, as questionnaires do, so that predicting
        the label from them is no shortcut; by default whether any of them is one of `SYMPTOMS`.
    """

    columns: Sequence[str] = ()
    symptoms: bool | None = None

    def describe(self, name: str) -> tuple[ModelKind, str]:
        """Say that it reads symptoms, or else nothing of the condition."""
        symptoms = self.symptoms
        if symptoms is None:
            symptoms = bool(find_columns(SYMPTOMS, self.columns))
        return "symptoms" if symptoms else "shortcut", f"{name.replace('_', ' ')} only"

    def lacks(self, data: ScanSet) -> str:
        """Say which columns would be needed where there is none."""
        label = "" if data.target else data.cohort.listing.labels.column
        if label and label in self.columns:
            action = "leave it out of the baseline's columns"
            fault = Fault("baselines", f"the label column '{label}'", "other columns", action)
            raise ConfigError(fault)
        if len(self.table(data).columns):
            return ""
        return f"no column {' or '.join(self.columns)} that differs between people"

    def table(self, data: ScanSet) -> pd.DataFrame:
        """Tabulate the columns, one row per scan; numbers where the audit reads numbers."""
        listing = data.cohort.listing
        present = listing.participants.columns
        if data.target is None:
            predicted = [listing.labels.column]
        else:  # nothing may be predicted from itself
            predicted = find_columns([*data.target.columns.values()], map(str, present))
        found = find_columns(self.columns, map(str, present.drop(predicted, errors="ignore")))
        columns = {name: covariate_values(data.cohort, name) for name in found}
        return pd.DataFrame({name: v for name, v in columns.items() if v.nunique(dropna=True) > 1})


def covariate_values(cohort: Cohort, column: str) -> pd.Series:
    """Read a column of the participants table, one value per scan; missing is NaN or None."""
    text = pd.Series(cohort.covariate(column), dtype=object).replace("", None)
    numbers, _ = as_numbers(text, column)
    return text if numbers is None else numbers


#: Columns that tell of the condition itself.
SYMPTOMS = ("pain_score", "fiq", "fiqr", "bdi", "stai", "pcs", "wpi", "sss")
#: Voxels count as at a map's largest or smallest value within this fraction of its range.
AT_LIMIT = 0.01


@dataclass(frozen=True)
class Coverage(KernelModel):
    """Sees only where voxels are missing: a linear map on the mask of missing voxels.

    Parameters
    ----------
    fwhm_mm : list of float
        Not used; the pattern is taken as it is.
    c : list of float
        Values of C to choose from.
    """

    model_kind = "shortcut"
    title = "coverage only"

    fwhm_mm: tuple[float, ...] = (0.0,)

    def lacks(self, data: ScanSet) -> str:
        """Say that there is nothing to see where all scans cover the same voxels."""
        missing = np.isnan(data.values)
        return "" if (missing != missing[:1]).any() else "scans that differ in coverage"

    def _features(self, data: ScanSet, train: Any, fwhm_mm: float) -> FloatArray:
        return missing_voxels(data.values, train)

    def _solve(self, kernel: Any, labels: Any, c: float) -> Any:
        return solve_svm(kernel, labels, c)


def missing_voxels(values: FloatArray, train: Rows) -> FloatArray:
    """Mark missing voxels, (N, C, V), less how often training scans lack them: (N, C * V)."""
    missing = np.isnan(values).reshape(len(values), -1).astype(np.float32)
    centred: FloatArray = missing - missing[train].mean(axis=0)
    return centred


@dataclass(frozen=True)
class Scale(FeatureModel):
    """Sees only how large values are, and whether they end at a limit.

    Log SD, log mean absolute value and mean over SD; and the log fractions of voxels within
    `AT_LIMIT` of the range from the largest and the smallest value, which are few in any map but
    one that was clipped.
    """

    title = "image scale only"

    def table(self, data: ScanSet) -> pd.DataFrame:
        """Tabulate five numbers per channel."""
        values = data.values.astype(np.float64)
        sd = np.nanstd(values, axis=2)
        absolute = np.nanmean(np.abs(values), axis=2)
        low, high = np.nanmin(values, axis=2), np.nanmax(values, axis=2)
        near = AT_LIMIT * (high - low)[..., None]
        n_known = np.isfinite(values).sum(axis=2)
        n_high = (values >= high[..., None] - near).sum(axis=2)
        n_low = (values <= low[..., None] + near).sum(axis=2)
        return _as_table(
            {
                "log_sd": np.log(sd),
                "log_abs": np.log(absolute),
                "mean_over_sd": np.nanmean(values, axis=2) / sd,
                "log_at_top": np.log(n_high / n_known),
                "log_at_bottom": np.log(n_low / n_known),
            }
        )


@dataclass(frozen=True)
class Roughness(FeatureModel):
    """Sees only how fast values change from voxel to voxel, along each axis."""

    title = "roughness only"

    def table(self, data: ScanSet) -> pd.DataFrame:
        """Tabulate three numbers per channel."""
        steps = roughness(data.values, data.cohort.grid)
        return _as_table(
            {f"log_step_{axis}": np.log(steps[..., k]) for k, axis in enumerate("xyz")}
        )


@dataclass(frozen=True)
class FileGrid(FeatureModel):
    """Sees only how each file is written: voxels, their size, orientation, type of numbers."""

    title = "file grid only"

    def lacks(self, data: ScanSet) -> str:
        """Say that there is nothing to see where all files are written alike."""
        grids = {stored.file_grids for stored in data.cohort.stored}
        return "" if len(grids) > 1 else "files that are written differently"

    def table(self, data: ScanSet) -> pd.DataFrame:
        """Tabulate one text per channel."""
        rows = [stored.file_grids for stored in data.cohort.stored]
        return pd.DataFrame(rows).add_prefix("grid_").astype(object)


@dataclass(frozen=True)
class TemporalSnr(FeatureModel):
    """Sees only how noisy a BOLD run is: mean over SD in time, as percentiles over voxels.

    Motion, head coil and sequence all show in it.
    """

    title = "temporal SNR only"

    def lacks(self, data: ScanSet) -> str:
        """Say that maps have no time."""
        has_time = [getattr(stored, "tsnr", None) is not None for stored in data.cohort.stored]
        return "" if has_time and all(has_time) else "time series: a cohort of BOLD runs"

    def table(self, data: ScanSet) -> pd.DataFrame:
        """Tabulate the logarithms of the 10th, 50th and 90th percentile."""
        rows = np.array([stored.tsnr for stored in data.cohort.stored], dtype=float)
        known = np.where(rows > 0, rows, np.nan)
        return pd.DataFrame(np.log(known), columns=["log_tsnr_10", "log_tsnr_50", "log_tsnr_90"])


def roughness(values: FloatArray, grid: Grid) -> FloatArray:
    """Mean squared step between neighbouring voxels over variance.

    From `values`, (N, C, V), NaN where missing: (N, C, 3), along x, y and z.
    """
    volumes = grid.unmask(values, np.nan)  # (N, C, X, Y, Z)
    variance = np.nanvar(values, axis=2)
    steps = [np.nanmean(np.diff(volumes, axis=axis) ** 2, axis=(2, 3, 4)) for axis in (2, 3, 4)]
    relative: FloatArray = np.stack(steps, axis=-1) / variance[..., None]
    return relative


def _as_table(features: dict[str, Any]) -> pd.DataFrame:
    """Make one column of each feature, (N, C), and channel."""
    return pd.DataFrame(
        {
            f"{name}_{channel}": values[:, channel]
            for name, values in features.items()
            for channel in range(values.shape[1])
        }
    )
