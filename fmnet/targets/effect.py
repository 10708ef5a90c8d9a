"""How the effect of an arm is learned: the head and its loss, the learners, and the link."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics import MeanSquaredError, Metric

from fmnet.data.outcomes import Numbers
from fmnet.evaluation.moderation import ScoredTrial, fit_slopes
from fmnet.inference.links import EffectLink
from fmnet.networks.heads import Head, LossFunction

#: Parts that training people are cut into, for what others lead to expect of each.
N_PARTS = 5
#: Standard errors that a slope has to be beyond before a link makes use of it.
BEYOND = 1.645


class EffectHead(Head):
    """Reads one output as the effect of an arm, in excess of the average.

    Targets are (..., 2): what is left of a gain, and of the arm, see `r_learner` and `dr_learner`;
    both have unit variance over the training scans.
    """

    def forward(self, outputs: torch.Tensor) -> torch.Tensor:
        """Take the output as it is: (..., 1)."""
        return outputs

    def loss(
        self,
        outputs: torch.Tensor,
        target: torch.Tensor,
        balance: torch.Tensor,  # noqa: ARG002 (all scans alike)
        function: LossFunction | None = None,  # noqa: ARG002 (`accepted_loss` is none)
    ) -> torch.Tensor:
        """Compute ``(left - score * arm) ** 2`` of each scan, 0 where nothing is known.

        Of outputs (..., 1) and targets (..., 2): (...).
        """
        is_known = torch.isfinite(target).all(dim=-1)
        left, arm = torch.nan_to_num(target).float().unbind(-1)
        loss: torch.Tensor = (left - self(outputs)[..., 0].float() * arm).square() * is_known
        return loss

    def metrics(self) -> dict[str, Metric]:
        """Build the mean loss."""
        return {"effect_loss": EffectLoss()}


class EffectLoss(MeanSquaredError):  # type: ignore[misc]
    """Mean of ``(left - score * arm) ** 2`` over the scans that are known."""

    def update(self, preds: torch.Tensor, target: torch.Tensor) -> None:
        """Take scores, (B, 1), and targets, (B, 2)."""
        is_known = torch.isfinite(target).all(dim=-1)
        left, arm = target[is_known].float().unbind(-1)
        super().update(preds[is_known, 0].float() * arm, left)


def r_learner(
    gain: Numbers,
    arm: Numbers,
    share: Numbers,
    adjusted: Numbers,
    units: Sequence[str],
    known: NDArray[np.intp],
) -> tuple[Numbers, Numbers]:
    """Take from gains and arms what other people lead to expect, and the effect on average.

    Expected gains are linear in what is adjusted for. The square of ``left - score * arm`` is
    smallest for the score that is each person's effect, in excess of the average.

    Parameters
    ----------
    gain, arm, share : ndarray of float, shape (N,)
        Outcome, larger is better; 1 for the active arm; and how likely it was.
    adjusted : ndarray of float, shape (N, P)
        Baseline, covariates, strata.
    units : sequence of str
        Families or people: who is predicted is left out with their family.
    known : ndarray of int
        Rows that are learned from.

    Returns
    -------
    tuple
        What is left of gains and of arms, (N,) each.

    References
    ----------
    Nie, X., & Wager, S. (2021). Quasi-oracle estimation of heterogeneous treatment effects.
    Biometrika, 108.
    """
    one, arm_left = np.ones((len(gain), 1)), arm - share
    design, at_share = (np.hstack([one, adjusted, own[:, None]]) for own in (arm_left, 0 * arm))
    left = gain - _cross_fitted(design, [at_share], gain, units, known)[0]
    effect = (left[known] @ arm_left[known]) / (arm_left[known] @ arm_left[known])
    return left - effect * arm_left, arm_left


def dr_learner(
    gain: Numbers,
    arm: Numbers,
    share: Numbers,
    adjusted: Numbers,
    units: Sequence[str],
    known: NDArray[np.intp],
) -> tuple[Numbers, Numbers]:
    """Compute doubly robust effects of all rows, less their mean; see `r_learner`.

    Expected gains of each arm are linear in what is adjusted for.

    References
    ----------
    Kennedy, E. H. (2023). Towards optimal doubly robust estimation of heterogeneous causal effects.
    Electronic Journal of Statistics, 17.
    """
    one, nothing = np.ones((len(gain), 1)), np.zeros((len(gain), 1))
    designs = [
        np.hstack([one, adjusted, own, own * adjusted]) for own in (arm[:, None], nothing, one)
    ]
    taken, control, active = _cross_fitted(designs[0], designs, gain, units, known)
    left = active - control + (arm - share) / (share * (1 - share)) * (gain - taken)
    return left - left[known].mean(), np.ones(len(gain))


def _cross_fitted(
    design: Numbers,
    others: Sequence[Numbers],
    gain: Numbers,
    units: Sequence[str],
    known: NDArray[np.intp],
) -> list[Numbers]:
    """Predict gains by least squares on rows `known`, of each of them from other units' rows.

    For each of `others`, designs of the same columns, predictions for all rows, (N,); rows that
    aren't `known` are predicted from all that are.
    """
    names, unit = np.unique(np.array(units)[known], return_inverse=True)
    part = np.random.default_rng(0).permutation(len(names))[unit] % N_PARTS

    def predict(rows: NDArray[np.intp]) -> Numbers:
        beta = np.linalg.lstsq(design[rows], gain[rows], rcond=None)[0]
        return np.stack([one @ beta for one in others])

    found = predict(known)
    for one in np.unique(part):
        if (rows := known[part != one]).size:
            found[:, known[part == one]] = predict(rows)[:, known[part == one]]
    return list(found)


def effect_link(trial: ScoredTrial) -> EffectLink:
    """Learn the effect of the arm as a line of the score, of people left out of the fit.

    The slope is drawn to 0, and is 0 unless it is beyond `BEYOND` standard errors: of models that
    know nothing, 95 in 100 give everybody the average effect. Its variance is drawn in alike.
    """
    slopes, score = fit_slopes(trial), trial.score
    sd, centre, t = float(score.std()), float(score.mean()), slopes.t("interaction")
    kept = 1 - (BEYOND / t) ** 2 if t > BEYOND else 0.0
    per_sd = 1 / sd if kept else 0.0
    slope = kept * per_sd * slopes.estimate["interaction"]
    places = [list(slopes.estimate).index(name) for name in ("arm", "interaction")]
    covariance = slopes.covariance[np.ix_(places, places)]
    of_mean, both, of_slope = (
        float(covariance[0, 0]),
        float(kept * per_sd * covariance[0, 1]),
        float(kept * per_sd**2 * covariance[1, 1]),
    )
    at_zero = of_mean - 2 * both * centre + of_slope * centre**2
    intercept = slopes.estimate["arm"] - slope * centre
    return EffectLink(slope, intercept, (at_zero, both - of_slope * centre, of_slope))
