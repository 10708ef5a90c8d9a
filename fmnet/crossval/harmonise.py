"""ComBat between sites, fitted within each training fold."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency

from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold
from fmnet.data.volume import FloatArray
from fmnet.inference.preparation import MIN_TRAINING_SHARE
from fmnet.inference.study_results import say_p
from fmnet.training.scan_set import Rows

#: Fewest scans of a site: with five folds and three inner ones, two are left to learn from.
MIN_PER_SITE = 6
#: Fewest people of a site in a training: one has no spread.
LEAST = 2
ALPHA = 0.05


def harmonisation_lacks(cohort: Cohort) -> str:
    """Say why sites can't be harmonised; empty if they can.

    Where site and label go together, taking the site out takes the label out too, and keeping the
    label in would write it into the maps.
    """
    sites = pd.Series(cohort.covariate("site"))
    if (sites == "").any() or sites.nunique() < 2:
        return "two or more sites, known for everybody"
    counts = pd.crosstab(sites, cohort.labels)
    if few := [str(site) for site, n in counts.sum(axis=1).items() if n < MIN_PER_SITE]:
        return f"{MIN_PER_SITE} scans at each site (fewer at {', '.join(few)})"
    if pure := [str(site) for site, row in counts.iterrows() if (row == 0).any()]:
        return f"both groups at each site (one only at {', '.join(pure)})"
    p = float(chi2_contingency(counts.to_numpy()).pvalue)
    if p < ALPHA:
        return f"sites that don't tell the groups apart (chi-squared test, {say_p(p)})"
    if find_spec("combatlearn") is None:
        return "combatlearn: pip install 'fmnet[harmonise]'"
    return ""


def folds_lack_sites(folds: Sequence[Fold], site_of: Mapping[str, str]) -> str:
    """Say if some training, inner ones included, has too few people of a site to learn from it."""
    sites = set(site_of.values())
    for fold in folds:
        inner = [set(fold.train) - set(part) for part in fold.validation]
        for train in ({*fold.train}, *inner):
            counts = Counter(site_of[person] for person in train)
            if short := sorted(site for site in sites if counts[site] < LEAST):
                return f"{LEAST} people of each site in every training (fewer of {short[0]})"
    return ""


@dataclass(frozen=True, eq=False)
class SiteHarmoniser:
    """Location and scale of each site, with empirical Bayes shrinkage; labels are not looked at.

    Parameters
    ----------
    sites : tuple of str
        One per scan.

    References
    ----------
    Johnson, W. E., Li, C., & Rabinovic, A. (2007). Adjusting batch effects in microarray expression
    data using empirical Bayes methods. Biostatistics, 8.
    """

    sites: tuple[str, ...]

    def __call__(self, values: FloatArray, train: Rows) -> FloatArray:
        """Harmonise all scans, (N, C, V), as the training scans ask for; missing stays missing."""
        flat = values.reshape(len(values), -1)
        known = np.isfinite(flat)
        usable = known[train].mean(axis=0) >= MIN_TRAINING_SHARE
        count = np.maximum(known[train].sum(axis=0), 1)
        mean = np.where(known[train], flat[train], 0).sum(axis=0, dtype=np.float64) / count
        frame = pd.DataFrame(np.where(known, flat, mean)[:, usable])
        # Here, because it takes seconds to import, and most runs don't need it.
        from combatlearn import ComBat

        model = ComBat(pd.Series(self.sites))
        with warnings.catch_warnings():
            # about voxels that hardly vary: the floor of the preparation sees to them
            warnings.simplefilter("ignore")
            model.fit(frame.iloc[train])
            changed = model.transform(frame)
        harmonised = flat.copy()
        harmonised[:, usable] = np.asarray(changed, dtype=np.float32)
        harmonised[~known] = np.nan
        return harmonised.reshape(values.shape)
