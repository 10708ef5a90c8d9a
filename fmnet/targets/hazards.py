"""What is learned of times to an event: losses of networks, what remains to learn, and risks."""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics import Metric
from torchsurv.loss.cox import neg_partial_log_likelihood

from fmnet.data.outcomes import Numbers
from fmnet.evaluation.survival import FollowUp
from fmnet.inference.links import HazardLink
from fmnet.networks.heads import Head, LossFunction
from fmnet.targets.shrinkage import SLOPES, believed_slope

#: Of everybody who is left, at most this share may have the event at once.
MOST_AT_ONCE = 1 - 1e-6


class HazardHead(Head):
    """One output is a log relative hazard; learned by Cox's partial likelihood.

    Targets hold the time and whether the event happened then (1) or not (0). Of each batch those
    who had the event are compared with those who were still followed then, ties by Efron; a batch
    is a sample of all who were at risk, and has the same maximum on average (Goldstein & Langholz
    1992). The loss of a batch stands for each of its scans.
    """

    def loss(
        self,
        outputs: torch.Tensor,
        target: torch.Tensor,
        balance: torch.Tensor,  # noqa: ARG002 (all scans alike)
        function: LossFunction | None = None,  # noqa: ARG002 (refused, as all are)
    ) -> torch.Tensor:
        """Compute the negative log partial likelihood per scan, the same for all of a batch: (...).

        Of outputs (..., B, 1) and targets (..., B, D), where times not known (NaN) are passed over.
        """
        score = self(outputs)[..., 0].float()  # (..., B)
        flat = score.reshape(-1, score.shape[-1])
        known = target.reshape(*flat.shape, target.shape[-1])
        losses = [_partial_likelihood(*one) for one in zip(flat, known, strict=True)]
        return torch.stack(losses)[:, None].expand(flat.shape).reshape(score.shape)

    def metrics(self) -> dict[str, Metric]:
        """Build Harrell's C."""
        return {"concordance": Concordance()}


def _partial_likelihood(score: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compute minus the log partial likelihood of scores, (B,), over B: a number."""
    is_known = torch.isfinite(target[:, 0]) & torch.isfinite(target[:, 1])
    event = is_known & (target[:, 1] > 0)
    if not event.any():
        return score.sum() * 0
    own = score[is_known]
    own = own - own.detach().max()  # only differences matter, and none may overflow
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Ties in `time`")
        loss: torch.Tensor = neg_partial_log_likelihood(
            own[:, None], event[is_known], target[is_known, 0].float(), "efron", "sum"
        )
    return loss / len(score)


class DiscreteHazardHead(HazardHead):
    """One output shifts the hazards of all intervals alike, learned scan by scan.

    Targets hold, behind time and event, the cumulative hazard of the training people up to the
    interval of the event, and that of this interval (Prentice & Gloeckler 1978). They stay as they
    are, so that an output of 0 says what those people show. Unlike Cox's the loss of a scan doesn't
    depend on who else is in its batch.
    """

    def loss(
        self,
        outputs: torch.Tensor,
        target: torch.Tensor,
        balance: torch.Tensor,  # noqa: ARG002 (all scans alike)
        function: LossFunction | None = None,  # noqa: ARG002 (refused, as all are)
    ) -> torch.Tensor:
        """Compute minus the log likelihood of each scan: (...), 0 where it isn't known."""
        score = self(outputs)[..., 0].float()
        is_known = torch.isfinite(target).all(dim=-1)
        _, event, before, within = torch.nan_to_num(target).float().unbind(-1)
        relative = torch.exp(torch.clamp(score, max=15.0))
        # log(1 - exp(-x)) of an event within its interval
        happened = torch.log(-torch.expm1(-(within * relative).clamp(min=1e-12)))
        return (relative * before - event * happened) * is_known


class Concordance(Metric):  # type: ignore[misc]
    """Harrell's C of scores, (B, 1), and targets, (B, D): time and event come first."""

    full_state_update = False
    rows: list[torch.Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("rows", default=[], dist_reduce_fx="cat")

    def update(self, scores: torch.Tensor, target: torch.Tensor) -> None:
        """Keep those whose times are known."""
        rows = torch.cat([target[:, :2].float(), scores.reshape(-1, 1).float()], dim=1)
        self.rows.append(rows[torch.isfinite(rows).all(dim=1)])

    def compute(self) -> torch.Tensor:
        """Compute it; 0.5 where nobody can be compared."""
        rows = self.rows if isinstance(self.rows, torch.Tensor) else torch.cat(list(self.rows))
        time, event, score = rows.double().cpu().numpy().T
        if not event.any():
            return torch.tensor(0.5)
        follow = FollowUp(time, event > 0, np.zeros(len(time), int))
        value = follow.concordance(follow.higher(score), np.ones(len(time)))
        return torch.tensor(value if np.isfinite(value) else 0.5)


def whole(time: Numbers, event: Numbers) -> FollowUp:
    """Compare all people with each other: of times and events, (N,), all known."""
    return FollowUp(time, event > 0, np.zeros(len(time), int))


class HazardWithoutScans:
    """The cumulative hazard of some people, by Nelson and Aalen with Efron's ties.

    Parameters
    ----------
    time, event : ndarray of float, shape (N,)
        Of those people, all known.
    """

    def __init__(self, time: Numbers, event: Numbers) -> None:
        follow = whole(time, event)
        cases = follow.cases[0]
        self.event = event
        self._steps = 1 / follow.at_risk[0].sum(axis=1)  # of each case
        self._share = self._steps @ follow.at_risk[0]
        order = np.argsort(time[cases], kind="stable")
        self.case_times = time[cases][order]
        self._cumulative = np.concatenate([[0.0], np.cumsum(self._steps[order])])

    def at(self, time: Numbers) -> Numbers:
        """Look up the cumulative hazard at times of any shape."""
        return np.asarray(self._cumulative[np.searchsorted(self.case_times, time, side="right")])

    def residuals(self) -> Numbers:
        """Compute the martingale residuals of these people: (N,), with mean 0.

        They are the derivative of the Cox log partial likelihood by the scores, where all are 0.
        """
        return np.asarray(self.event - self._share)

    def intervals(self, time: Numbers, event: Numbers, n_intervals: int) -> NDArray[np.float32]:
        """Tell the hazard up to the interval of an event, and within it, of anybody: (N, 2).

        Intervals have about as many events each. Of those without the event it is the hazard up to
        their own time, and 0.
        """
        if not len(self.case_times):
            return np.zeros((len(time), 2), np.float32)
        inner = np.quantile(self.case_times, np.arange(1, n_intervals) / n_intervals)
        # an interval ends with the event it is named by
        edges = np.concatenate([[0.0], np.unique(inner), [np.inf]])
        number = np.searchsorted(edges, time, side="left").clip(1, len(edges) - 1)
        start, end = self.at(edges[number - 1]), self.at(edges[number])
        before = np.where(event > 0, start, self.at(time))
        within = np.where(event > 0, end - start, 0.0)
        return np.stack([before, within], axis=1).astype(np.float32)


def fit_hazard_link(
    score: Numbers,
    time: Numbers,
    event: Numbers,
    times: tuple[float, ...],
    unit: str,
    share: float = 1.0,
) -> HazardLink:
    """Fit a Cox model to scores of people who had been left out, (N,), and state risks.

    The slope is as large as is believed, see `fmnet.targets.shrinkage.believed_slope`. Hazards of
    somebody with a mean score are by Kalbfleisch and Prentice (1973), so that with a slope of 0 all
    risks are those of Kaplan and Meier.

    Parameters
    ----------
    times : tuple of float
        At which risks are stated.
    share : float
        People for each scan: each person counts once.
    """
    follow = whole(time, event)
    centre, sd = float(score.mean()), float(score.std())
    slope = 0.0
    if sd > 1e-9 * max(1.0, float(np.abs(score).max())) and event.any():
        standard = (score - centre) / sd
        linear = np.outer(standard, SLOPES)  # (N, S)
        at_risk = follow.at_risk[0] @ np.exp(linear)
        slope = believed_slope(share * (linear[follow.cases[0]] - np.log(at_risk)).sum(axis=0)) / sd
    relative = np.exp(slope * (score - centre))
    happened = np.unique(time[event > 0])
    left = (time >= happened[:, None]) @ relative
    had = (time == happened[:, None]) & (event > 0)
    lost = had @ relative
    steps = -np.log1p(-np.minimum(lost / left, MOST_AT_ONCE)) * had.sum(axis=1) / lost
    cumulative = np.concatenate([[0.0], np.cumsum(steps)])
    hazards = cumulative[np.searchsorted(happened, np.asarray(times), side="right")]
    return HazardLink(slope, centre, list(times), hazards.tolist(), unit)
