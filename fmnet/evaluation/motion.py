"""Head motion, the confound that BOLD is known for, in one sentence that can't be missed."""

from typing import Any

from fmnet.inference.study_results import say_p

#: How the sentence starts where nothing is left of a result without motion.
EXPLAINED = "Head motion explains the result"
ALPHA = 0.05

Row = dict[str, Any]


def reaches(row: Row, floor: float) -> bool:
    """Tell whether a covariate alone is above chance and reaches the model's interval."""
    return row["auc"] is not None and row["auc_ci"][0] > 0.5 and row["auc"] >= floor


def is_followed(row: Row) -> bool:
    """Tell whether the score depends on a covariate beyond what the group explains."""
    return bool(row.get("partial_p_holm", 1.0) < ALPHA)


def telling(row: Row, auc: float, title: str) -> str:
    """Say how well a covariate alone tells the groups apart, beside the model of that name."""
    low, high = row["auc_ci"]
    return (
        f"{row['covariate']} alone tells the groups apart with AUC {row['auc']:.2f} "
        f"[{low:.2f}, {high:.2f}]; the {title} reaches {auc:.2f}"
    )


def following(row: Row) -> str:
    """Say that the score depends on a covariate."""
    return (
        f"depends on {row['covariate']} beyond what the group explains (partial confounder "
        f"test, {say_p(row['partial_p_holm'])})"
    )


def motion_sentence(
    rows: list[Row], auc: float, floor: float, title: str = "network"
) -> tuple[str, str]:
    """Say in one sentence what head motion has to do with the result, and of which column.

    Both are empty if it has nothing to do with it.

    Parameters
    ----------
    rows : list of dict
        What the audit found about columns of motion: of those that reach the model, the largest
        AUC is named; of those that the score depends on, the smallest p.
    auc, floor : float
        The model's AUC, and the lower end of its interval.
    title : str
        Name of the model for people.
    """
    reaching = [row for row in rows if reaches(row, floor)]
    followed = [row for row in rows if is_followed(row)]
    if not reaching and not followed:
        return "", ""
    nearest = min(followed, key=_partial_p) if followed else {}
    score = f"score {following(nearest)}" if followed else ""
    if not reaching:
        text = f"Head motion shows in the result: the {title}'s {score}."
        return text, str(nearest["covariate"])
    best = max(reaching, key=lambda row: float(row["auc"]))
    head, left = _judge(best, floor)
    parts = [telling(best, auc, title), left, score and f"its {score}"]
    return f"{head}: {'; '.join(filter(None, parts))}.", str(best["covariate"])


def _partial_p(row: Row) -> float:
    return float(row["partial_p_holm"])


def _judge(row: Row, floor: float) -> tuple[str, str]:
    """Start the sentence, and say what is left among people who moved alike."""
    p = row.get("left_p")
    if floor <= 0.5 or p is None:
        return "Head motion differs between the groups", ""
    if p < ALPHA:
        left = f"among people who moved alike its score still tells the groups apart ({say_p(p)})"
        return "Head motion can explain part of the result", left
    left = f"among people who moved alike nothing is left that can be shown ({say_p(p)})"
    return EXPLAINED, left
