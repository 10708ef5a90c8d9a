"""How alike the two groups are in everything that was recorded about people."""

from typing import Any

import numpy as np
import pandas as pd

#: A larger difference, in pooled SDs, is called an imbalance (Stuart 2010).
LIMIT = 0.25


def balance_table(people: pd.DataFrame) -> list[dict[str, Any]]:
    """Compare the groups in each covariate.

    Parameters
    ----------
    people : DataFrame
        From `fmnet.data.participants.people_table`.

    Returns
    -------
    list of dict
        ``covariate``; ``negative`` and ``positive``, mean (SD) or counts in words; ``missing``, how
        many of each group; ``smd``, the standardised mean difference; ``is_imbalanced``.

    References
    ----------
    Yang, D., & Dalton, J. (2012). A unified approach to measuring the effect size between two
    groups using SAS. SAS Global Forum, for categories.
    """
    groups = [people[people["label"] == label] for label in (0, 1)]
    rows = []
    for name in people.columns.drop("label"):
        both = [group[name] for group in groups]
        smd = standardised_difference(*both)
        rows.append(
            {
                "covariate": str(name),
                "negative": _describe(both[0]),
                "positive": _describe(both[1]),
                "missing": [int(column.isna().sum()) for column in both],
                "smd": smd,
                "is_imbalanced": smd is not None and abs(smd) > LIMIT,
            }
        )
    return rows


def standardised_difference(negative: pd.Series, positive: pd.Series) -> float | None:
    """Mean difference in pooled SDs, positive minus negative; for categories without a sign.

    The variance of categories is that of shares drawn together by half a person a level.

    None where a group has fewer than two values.
    """
    one, other = negative.dropna(), positive.dropna()
    if min(len(one), len(other)) < 2:
        return None
    if pd.api.types.is_numeric_dtype(one):
        pooled = np.sqrt((one.var() + other.var()) / 2)
        gap = float(other.mean() - one.mean())
        return (
            gap / float(pooled) if pooled > 0 else (0.0 if gap == 0 else float(np.sign(gap)) * 9.99)
        )
    levels = sorted({*one, *other})[1:]
    shares = [np.array([(column == level).mean() for level in levels]) for column in (one, other)]
    # Drawn together by half a person a level: shares of 0 and 1 have no variance to divide by.
    smooth = [
        (share * n + 0.5) / (n + 0.5 * (len(levels) + 1))
        for share, n in zip(shares, (len(one), len(other)), strict=True)
    ]
    covariance = sum((np.diag(p) - np.outer(p, p)) / 2 for p in smooth)
    gap_by_level = shares[1] - shares[0]
    return float(np.sqrt(max(gap_by_level @ np.linalg.pinv(covariance) @ gap_by_level, 0.0)))


def _describe(column: pd.Series) -> str:
    known = column.dropna()
    if known.empty:
        return "not known"
    if pd.api.types.is_numeric_dtype(known):
        mean, sd = float(f"{known.mean():.3g}"), float(f"{known.std():.2g}")
        return f"{mean:g} ({sd:g})"  # 1450 (120), not 1.45e+03 (1.2e+02)
    counts = known.value_counts().sort_index()
    return ", ".join(f"{level} {count}" for level, count in counts.items())
