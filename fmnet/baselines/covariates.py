"""What the participants table alone tells about the label."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from fmnet.baselines.features import FeatureModel
from fmnet.data.cohort import Cohort
from fmnet.data.covariates import find_columns
from fmnet.data.participants import as_numbers
from fmnet.errors import ConfigError, Fault
from fmnet.training.scan_set import ScanSet


@dataclass(frozen=True)
class Columns(FeatureModel):
    """Predicts the label from columns of the participants table, without any image.

    Parameters
    ----------
    columns : list of str
        Columns to use, as far as the cohort has them and they differ between people. Case and
        punctuation don't matter. A name of head motion stands for all columns of head motion where
        the cohort has none of those named.
    c : list of float
        Values of C to choose from.
    """

    columns: Sequence[str] = ()

    def lacks(self, data: ScanSet) -> str:
        """Say which columns would be needed where there is none."""
        label = data.cohort.listing.labels.column
        if label in self.columns:
            action = "leave it out of the baseline's columns"
            fault = Fault("baselines", f"the label column '{label}'", "other columns", action)
            raise ConfigError(fault)
        if len(self.table(data).columns):
            return ""
        return f"no column {' or '.join(self.columns)} that differs between people"

    def table(self, data: ScanSet) -> pd.DataFrame:
        """Tabulate the columns, one row per scan; numbers where the audit reads numbers."""
        listing = data.cohort.listing
        present = listing.participants.columns.drop(listing.labels.column, errors="ignore")
        found = find_columns(self.columns, map(str, present))
        columns = {name: covariate_values(data.cohort, name) for name in found}
        return pd.DataFrame({name: v for name, v in columns.items() if v.nunique(dropna=True) > 1})


def covariate_values(cohort: Cohort, column: str) -> pd.Series:
    """Read a column of the participants table, one value per scan; missing is NaN or None."""
    text = pd.Series(cohort.covariate(column), dtype=object).replace("", None)
    numbers, _ = as_numbers(text, column)
    return text if numbers is None else numbers
