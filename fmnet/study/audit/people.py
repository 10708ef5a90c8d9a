"""Covariates and scores with one row per person."""

import numpy as np
import pandas as pd

from fmnet.data.cohort import Cohort
from fmnet.data.tables import subject_key

#: A text column with more different values than this is taken for names or remarks.
MAX_CATEGORIES = 12


def people_table(cohort: Cohort) -> pd.DataFrame:
    """Tabulate label and covariates of the people in use.

    Columns without differences, the label column itself, and texts with too many values are left
    out. People with scans of both classes have no label of their own, and no table.

    Returns
    -------
    DataFrame
        Index: participant id; ``label`` (0 or 1) and one column per covariate: float where all
        values are numbers, else text; missing is NaN or None.
    """
    labels = pd.DataFrame({"person": cohort.participant_ids, "label": cohort.labels})
    per_person = labels.groupby("person", sort=False)["label"]
    if (per_person.nunique() > 1).any():
        return pd.DataFrame({"label": pd.Series(dtype=int)})
    people = per_person.first()
    table = cohort.listing.participants
    rows = table.set_index(table["participant_id"].map(subject_key))
    rows = rows.reindex([subject_key(str(person)) for person in people.index])
    found = {"label": people.to_numpy()}
    for name in rows.columns.drop(
        ["participant_id", cohort.listing.labels.column], errors="ignore"
    ):
        column = covariate(rows[name])
        if column is not None:
            found[str(name)] = column.to_numpy()
    return pd.DataFrame(found, index=people.index)


def covariate(text: pd.Series) -> pd.Series | None:
    """Read a text column as numbers where it holds nothing else; None if it says nothing."""
    known = text.astype(object).where(text.notna() & (text != ""), None)
    numbers = pd.to_numeric(known, errors="coerce")
    if bool((numbers.notna() == known.notna()).all()):
        return numbers.astype(float) if numbers.nunique() > 1 else None
    return known if 1 < known.nunique(dropna=True) <= MAX_CATEGORIES else None


def person_scores(predictions: pd.DataFrame, model: str) -> pd.Series:
    """Standardise a model's scores within each test fold and average them by person."""
    rows = predictions[predictions["model"] == model]
    folds = rows.groupby(["repeat", "fold"])["score"]
    spread = folds.transform("std").replace(0, np.nan)
    standard = ((rows["score"] - folds.transform("mean")) / spread).fillna(0.0)
    means: pd.Series = standard.groupby(rows["participant_id"]).mean()
    return means
