"""Who responds to a treatment: for whom one arm of a trial does more than the other.

That somebody improves under a drug doesn't tell that it was the drug. So the score stands for the
*effect* of the arm, and what is tested is whether the arm does more for people with larger scores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torchmetrics import MeanSquaredError, Metric

from fmnet.data.outcomes import Numbers, Outcomes
from fmnet.data.tables import say_some
from fmnet.errors import Fault
from fmnet.evaluation import moderation
from fmnet.evaluation.moderation import Trial, fit_slopes
from fmnet.inference.links import EffectLink, Link
from fmnet.networks.heads import Head, LossFunction
from fmnet.targets.arms import (
    NO_CONTROL,
    given_shares,
    name_arms,
    number_names,
    pair_periods,
    read_column,
    shares_of,
)
from fmnet.targets.base import Meaning, Null, Primary, Said, Target, unit_responses
from fmnet.targets.response_words import response_verdict

#: Parts that training people are cut into for what is expected of each by others.
N_PARTS = 5
#: Standard errors that a slope has to be beyond before a link makes use of it.
BEYOND = 1.645
#: Fewest people of each arm that a fold may learn from.
FEWEST_TRAINING = 8


class EffectHead(Head):
    """Reads one output as the effect of an arm, in excess of the average.

    Labels are (..., 2): what is left of a gain, and of the arm (see `Response.fit_null`); the loss
    is the square of ``left - score * arm``.
    """

    def forward(self, outputs: torch.Tensor) -> torch.Tensor:
        """Take the effect as it is: (..., 1)."""
        return outputs

    def loss(
        self,
        outputs: torch.Tensor,
        target: torch.Tensor,
        balance: torch.Tensor,  # noqa: ARG002
        function: LossFunction | None = None,  # noqa: ARG002 (it has no place for the arm)
    ) -> torch.Tensor:
        """Compute the loss of the R-learner (or DR-learner) of each scan; 0 where nothing is known.

        Of outputs (..., 1) and labels (..., 2): (...).
        """
        left, arm = target[..., 0].float(), target[..., 1].float()
        is_known = ~(left.isnan() | arm.isnan())
        error = left.nan_to_num() - outputs[..., 0].float() * arm.nan_to_num()
        return error.square() * is_known

    def metrics(self) -> dict[str, Metric]:
        """Build the mean loss."""
        return {"effect_loss": EffectLoss()}


class EffectLoss(MeanSquaredError):
    """Mean of ``(left - score * arm) ** 2`` over the scans that are known."""

    def update(self, preds: torch.Tensor, target: torch.Tensor) -> None:
        """Take scores, (B, 1) or (B,), and labels, (B, 2)."""
        known = ~target.isnan().any(dim=-1)
        left, arm = target[known].float().unbind(-1)
        super().update(preds.reshape(len(target))[known].float() * arm, left)


@dataclass(frozen=True)
class Response(Target):
    """Who responds: the effect of an arm on an outcome, by what scans show beforehand.

    Parameters
    ----------
    outcome : str
        Column with the outcome after treatment; in crossover designs with a single row for each
        person, that under control.
    benefit : str
        Whether ``lower`` or ``higher`` outcomes are better.
    arm : str, optional
        Column with the arm of each person (of each row, in crossover designs). None where there is
        one arm only, which is refused.
    arms : list of str, optional
        How control and active arm are written, control first; people of other arms are left out.
    baseline : str, optional
        Column with the outcome before treatment.
    covariates : list of str
        Further columns with numbers from before the arm was drawn, that gains are adjusted for.
    stratum : str, optional
        Column with the stratum within which arms were drawn.
    propensity : float or dict of float, optional
        How likely the active arm was, or by stratum; by default its share in the training fold.
    learner : str
        ``r`` (R-learner) or ``dr`` (doubly robust).
    design : str
        ``parallel``, or ``crossover``: everybody was in both arms.
    outcome_active : str, optional
        Crossover: column with the outcome under the active arm, where both stand in one row.
    order : str, optional
        Crossover: column that tells which arm came first (its name), or the number of the period
        where each stands in a row of its own.
    fewest : int
        People of each arm that a study needs at least (crossover: people).
    """

    kind: ClassVar[str] = "response"
    title: ClassVar[str] = "who responds to treatment"

    outcome: str = "outcome"
    benefit: Literal["lower", "higher"] = "lower"
    arm: str | None = "arm"
    arms: Sequence[str] | None = None
    baseline: str | None = "baseline"
    covariates: Sequence[str] = ()
    stratum: str | None = None
    strata_names: Sequence[str] = ()
    propensity: float | Mapping[str, float] | None = None
    learner: Literal["r", "dr"] = "r"
    design: Literal["parallel", "crossover"] = "parallel"
    outcome_active: str | None = None
    order: str | None = None
    fewest: int = 15

    # --- what is read -----------------------------------------------------------------------------

    @property
    def is_crossover(self) -> bool:
        """Tell whether everybody was in both arms."""
        return self.design == "crossover"

    @property
    def columns(self) -> dict[str, str]:
        """Column of the tables that each role is read from."""
        named = {"outcome": self.outcome, "baseline": self.baseline, "arm": self.arm}
        if self.is_crossover:
            named |= {"active": self.outcome_active, "order": self.order}
            named["arm"] = None if self.outcome_active else self.arm
        else:
            named["stratum"] = self.stratum
        named |= {f"covariate_{name}": name for name in self.covariates}
        return {role: column for role, column in named.items() if column}

    def read(self, texts: pd.DataFrame) -> tuple[Self, dict[str, Numbers], list[Fault]]:
        """Turn texts into numbers: arms become 0 (control) and 1 (active), strata are numbered."""
        columns, faults, values = self.columns, list[Fault](), dict[str, Numbers]()
        names = {"outcome", "baseline", "active"} | {
            f"covariate_{name}" for name in self.covariates
        }
        for role in (one for one in columns if one in names):
            values[role], own = read_column(texts, columns[role])
            faults += own
        if not self.is_crossover and "arm" not in columns:
            accepted = "two arms, one of them a control"
            return self, {}, [Fault("target.arm", "no column", accepted, NO_CONTROL)]
        arms, own = tuple(self.arms or ("control", "active")), list[Fault]()
        if "arm" in columns:
            arms, own = name_arms(texts[columns["arm"]], self.arms)
            values["arm"] = number_names(texts[columns["arm"]], arms)
        if faults_of_all := [one for one in own if not one.participant_id]:
            return self, {}, [*faults, *faults_of_all]
        read = replace(self, arms=arms)
        if self.is_crossover:
            values, own = self._read_crossover(texts, values, arms)
            return read, values, faults + own
        if "stratum" in columns:
            strata = texts[columns["stratum"]]
            levels = tuple(sorted({str(text) for text in strata} - {""}))
            values["stratum"] = number_names(strata, levels)
            read = replace(read, strata_names=levels)
        return read, values, faults + self._propensity_faults(read.strata_names)

    def _read_crossover(
        self, texts: pd.DataFrame, values: dict[str, Numbers], arms: Sequence[str]
    ) -> tuple[dict[str, Numbers], list[Fault]]:
        faults, order = list[Fault](), None
        if self.outcome_active:
            values["control"] = values["outcome"]
            if self.order:
                first = number_names(texts[self.order], arms)
                values["order"] = first
                for row in np.flatnonzero(np.isnan(first) & (texts[self.order] != "").to_numpy()):
                    person, text = (
                        str(texts[one].iloc[row]) for one in ("participant_id", self.order)
                    )
                    action = "correct the cell, or name the arms: 'target.arms=[CONTROL,ACTIVE]'"
                    accepted = f"the arm that came first: {' or '.join(arms)}"
                    faults.append(Fault(f"{person}, {self.order}", text, accepted, action, person))
        else:
            if self.order:
                order, faults = read_column(texts, self.order)
            people = list(map(str, texts["participant_id"]))
            paired, own = pair_periods(people, values["outcome"], values.pop("arm"), order)
            values, faults = values | paired, faults + own
        values["outcome"] = values["active"] - values["control"]
        return values, faults

    def _propensity_faults(self, strata: Sequence[str]) -> list[Fault]:
        if self.propensity is None:
            return []
        given = self.propensity
        shares = list(given.values()) if isinstance(given, Mapping) else [given]
        faults, where = list[Fault](), "target.propensity"
        if not all(0 < share < 1 for share in shares):
            accepted = "how likely the active arm was, between 0 and 1"
            faults.append(Fault(where, str(given), accepted, "correct it, or set it to null"))
        if isinstance(given, Mapping) and (lacking := [one for one in strata if one not in given]):
            action = f"give one for each, or null for the share of the arm in {self.stratum}"
            found = f"none for {say_some(map(repr, lacking))}"
            faults.append(Fault(where, found, "one for each stratum", action))
        return faults

    def check(self, outcomes: Outcomes) -> list[Fault]:
        """Find a lack of people in an arm, people in two of them, and strata of one arm only."""
        people = np.array(outcomes.participants)
        if self.is_crossover:
            n = len(set(people))
            return [] if n >= self.fewest else [_too_few(f"{n} people in both arms", self.fewest)]
        arm, (control, active) = outcomes["arm"], self.arms or ("control", "active")
        groups = [set(people[arm == value]) for value in (0, 1)]
        if not all(groups):
            found = f"nobody in arm '{active if groups[0] else control}' whose outcome is known"
            return [Fault("target.arm", found, "two arms, one of them a control", NO_CONTROL)]
        faults = []
        if both := sorted(groups[0] & groups[1]):
            found = f"people in both arms: {say_some(both)}"
            action = "correct the table, or set target.design=crossover"
            faults.append(Fault("target.arm", found, "one arm for each person", action))
        for name, group in zip((control, active), groups, strict=True):
            if len(group) < self.fewest:
                faults.append(_too_few(f"{len(group)} people in arm '{name}'", self.fewest))
        for number, name in enumerate(self.strata_names):
            own = arm[outcomes["stratum"] == number]
            if len(own) and own.min() == own.max():
                found = f"one arm only in stratum '{name}'"
                action = "leave these people out (target.among), or merge strata"
                faults.append(Fault("target.stratum", found, "both arms in each stratum", action))
        return faults

    def check_training(self, train: Outcomes, where: str) -> list[Fault]:
        """Find an arm of which too few people are left to learn from."""
        known = self.is_known(train)
        people = np.array(train.participants)[known]
        arms = {"people": np.ones(len(people), dtype=bool)}
        if not self.is_crossover:
            named = self.arms or ("control", "active")
            arms = {
                f"people in arm '{one}'": train["arm"][known] == k for k, one in enumerate(named)
            }
        counts = {name: len(set(people[chosen])) for name, chosen in arms.items()}
        action = "have fewer folds, or more people"
        return [
            Fault(where, f"{n} {name}", f"{FEWEST_TRAINING} or more to learn from", action)
            for name, n in counts.items()
            if n < FEWEST_TRAINING
        ]

    def strata(self, outcomes: Outcomes) -> list[str]:
        """Name arm (or order), stratum and part of the baseline's range of each scan."""
        values = outcomes.values
        kind = values.get("order" if self.is_crossover else "arm", np.zeros(len(outcomes)))
        kind = kind + 2 * values.get("stratum", 0)
        part = _parts(outcomes, kind)
        return [f"{int(one)}/{third}" for one, third in zip(kind, part, strict=True)]

    # --- what is learned --------------------------------------------------------------------------

    @property
    def score_names(self) -> tuple[str, ...]:
        """One score: larger where the arm is said to help more."""
        return ("score",)

    def head(self) -> Head:
        """Build the head with the loss of the learner."""
        return EffectHead()

    def fit_null(self, outcomes: Outcomes, train: NDArray[np.intp]) -> Null:
        """Learn what is expected of people without their scans, and the effect of the arm on all.

        Gains are held against what other training people lead to expect, from baseline, covariates
        and stratum; arms against how likely they were; then the average effect is taken out. What
        is left of a gain, times what is left of the arm, points to people for whom the arm did
        more than on average.
        """
        values = outcomes.values
        known = train[self.is_known(outcomes)[train]]
        gain, adjusted, one = self.gain(values), self.adjusted(values), np.ones((len(outcomes), 1))
        if self.is_crossover:
            design = np.hstack([one, adjusted[:, : int("order" in values)]])
            left = gain - design @ np.linalg.lstsq(design[known], gain[known], rcond=None)[0]
            arm = np.ones(len(gain))
        else:
            share = self.shares(values, known)
            arm, units = values["arm"] - share, outcomes.units
            if self.learner == "r":
                design = np.hstack([one, adjusted, arm[:, None]])
                design_of = np.hstack([one, adjusted, 0 * one])
                left = gain - _cross_fitted(design, [design_of], gain, units, known)[0]
                left = left - (left[known] @ arm[known]) / (arm[known] @ arm[known]) * arm
            else:
                designs = [
                    np.hstack([one, adjusted, own, own * adjusted])
                    for own in (values["arm"][:, None], 0 * one, one)
                ]
                taken, control, active = _cross_fitted(designs[0], designs, gain, units, known)
                left = active - control + arm / (share * (1 - share)) * (gain - taken)
                left, arm = left - left[known].mean(), np.ones(len(gain))
        scales = left[known].std() or 1.0, np.sqrt((arm[known] ** 2).mean())
        losses = np.stack([left / scales[0], arm / scales[1]], axis=1).astype(np.float32)
        return Null(unit_responses((left * arm)[:, None], train), losses)

    def fit_link(self, scores: Numbers, outcomes: Outcomes) -> Link:
        """Learn the effect of the arm as a line of the score, from people left out of the fit.

        The slope is drawn to 0, and is 0 unless it is `BEYOND` standard errors: in 95 of 100 cases
        a model that knows nothing gives everybody the average effect. The variance of the slope is
        drawn in alike.
        """
        score = scores[:, 0].astype(float)
        nothing = np.zeros(len(score), dtype=np.intp)
        trial = self._trial(outcomes.values, score, nothing, nothing, outcomes.units)
        slopes, own = fit_slopes(trial), trial.score
        sd, t = float(own.std()), slopes.t("interaction")
        kept = max(0.0, 1 - (BEYOND / t) ** 2) if t > 0 else 0.0
        slope = kept * slopes.estimate["interaction"] / sd if kept else 0.0
        names = list(slopes.estimate)
        places = [names.index("arm"), names.index("interaction")]
        variance = slopes.covariance[np.ix_(places, places)]
        per_sd = 1 / sd if kept else 0.0
        of_mean, both, of_slope = (
            float(variance[0, 0]),
            float(kept * variance[0, 1] * per_sd),
            float(kept * variance[1, 1] * per_sd**2),
        )
        centre = float(own.mean())
        at_zero = of_mean - 2 * both * centre + of_slope * centre**2
        intercept = slopes.estimate["arm"] - slope * centre
        return EffectLink(slope, intercept, (at_zero, both - of_slope * centre, of_slope))

    def gain(self, values: Mapping[str, Numbers]) -> Numbers:
        """Give outcomes, (N,), the sign that makes larger ones better."""
        return values["outcome"] if self.benefit == "higher" else -values["outcome"]

    def adjusted(self, values: Mapping[str, Numbers]) -> Numbers:
        """Tabulate what gains are adjusted for, (N, P): order, baseline, covariates, strata."""
        roles = ["order", "baseline", *(f"covariate_{name}" for name in self.covariates)]
        n = len(values["outcome"])
        columns = [values[role] for role in roles if role in values]
        columns += [
            (values["stratum"] == number).astype(float)
            for number in range(1, len(self.strata_names))
        ]
        return np.stack(columns, axis=1) if columns else np.zeros((n, 0))

    def shares(self, values: Mapping[str, Numbers], known: NDArray[np.intp]) -> Numbers:
        """Tell how likely each row was to be in the active arm, (N,)."""
        stratum = values.get("stratum", np.zeros(len(values["outcome"])))
        if self.propensity is None:
            return shares_of(values["arm"], stratum, known)
        return given_shares(self.propensity, stratum, self.strata_names)

    def _trial(
        self,
        values: Mapping[str, Numbers],
        score: Numbers,
        repeat: NDArray[np.intp],
        fold: NDArray[np.intp],
        units: Sequence[str] | NDArray[Any],
        is_beyond: bool = False,
    ) -> Trial:
        """Put together what is known of an out-of-fold table, sorted by repeat.

        Of differences within persons only the order of periods is taken; with `is_beyond`, also
        what the effect may depend on.
        """
        every = np.stack([values[role] for role in values] + [score])
        known = np.flatnonzero(~np.isnan(every).any(axis=0))
        known = known[np.argsort(repeat[known], kind="stable")]
        own = {role: held[known] for role, held in values.items()}
        unit = pd.factorize(np.asarray(units, dtype=object)[known])[0].astype(np.intp)
        folds = pd.factorize(repeat[known] * (int(fold.max(initial=0)) + 1) + fold[known])[0]
        arm, share = None, None
        if not self.is_crossover:
            arm, share = own["arm"], self.shares(own, np.arange(len(known)))
        place = (repeat[known], folds.astype(np.intp), unit)
        adjusted = self.adjusted(own)
        if self.is_crossover and not is_beyond:
            adjusted = adjusted[:, : int("order" in own)]
        return Trial(self.gain(own), arm, share, adjusted, score[known], *place)

    def _trial_of(self, rows: pd.DataFrame, is_beyond: bool = False) -> Trial:
        """Put together the out-of-fold table of one model."""
        values = {
            str(name).removeprefix("outcome_"): rows[name].to_numpy(float)
            for name in rows.columns
            if str(name).startswith("outcome_")
        }
        repeat, fold = (rows[name].to_numpy(np.intp) for name in ("repeat", "fold"))
        score = rows["score"].to_numpy(float)
        return self._trial(values, score, repeat, fold, rows["unit"].to_numpy(), is_beyond)

    # --- how it is judged -------------------------------------------------------------------------

    @property
    def primary(self) -> Primary:
        """The interaction of arm and score.

        It uses everybody, holds the arms against each other at the same scores, and allows for
        scores that foretell the outcome in both arms. AUTOC rests on the few with the highest
        scores, and is the less certain of the two with some dozens of people.
        """
        return Primary("interaction", "Interaction of arm and score", 0.0)

    def figures(self, rows: pd.DataFrame) -> dict[str, float]:
        """Compute how much more the arm does for people with larger scores.

        Gains are outcomes with the sign that makes larger ones better. Scores are standardised
        within test folds.

        Returns
        -------
        dict
            ``interaction``: change of the effect of the arm for one SD of the score, in SD of what
            is left of gains; ``interaction_estimate`` and ``interaction_se`` (HC3) in units of the
            outcome, and their ratio ``interaction_t``; ``beyond_t``, the same where the effect may
            vary with baseline and covariates as well; ``average_effect``; ``effect_low_third``,
            ``effect_middle_third`` and ``effect_high_third``, of people by score; ``autoc`` and
            ``qini``, in units of the outcome; ``prognostic``, slope of gain on score in the control
            arm in the same SDs, and its ``prognostic_t``; ``main_t``, of the mean slope in both
            arms; ``concordance_active`` and ``concordance_control``: how likely of two people of
            the arm the one with the higher score fares better, and ``benefit_concordance``, the
            first less the second (crossover: of differences within persons, less 0.5).
        """
        trial = self._trial_of(rows)
        if not _is_enough(trial):
            return {"interaction": float("nan")}
        slopes = fit_slopes(trial)
        beyond = fit_slopes(
            self._trial_of(rows, is_beyond=True) if self.is_crossover else trial, True
        )
        starts, rank = trial.starts(), moderation.ranked_within(trial.score, trial.fold)
        effects, (left, _) = moderation.pseudo_effects(trial), moderation.gain_left(trial)
        autoc, qini = moderation.rank_weighted_effects(effects, rank, starts)
        thirds = moderation.effect_by_thirds(trial)
        sd = slopes.sd if slopes.sd > 0 else float("nan")
        found = {
            "interaction": slopes.estimate["interaction"] / sd,
            "interaction_estimate": slopes.estimate["interaction"],
            "interaction_se": slopes.se("interaction"),
            "interaction_t": slopes.t("interaction"),
            "beyond_t": beyond.t("interaction"),
            "average_effect": slopes.estimate["arm"],
            **{
                f"effect_{name}_third": third["effect"]
                for name, third in zip(("low", "middle", "high"), thirds, strict=True)
            },
            "autoc": autoc,
            "qini": qini,
        }
        if trial.arm is None:
            everybody = np.ones(len(left), dtype=bool)
            agreed = moderation.arm_concordance(left, rank, everybody, starts)
            return found | self._prognosis(rows) | {"benefit_concordance": agreed - 0.5}
        active, control = (
            moderation.arm_concordance(left, rank, trial.arm == arm, starts) for arm in (1, 0)
        )
        return found | {
            "prognostic": slopes.estimate["control"] / sd,
            "prognostic_t": slopes.t("control"),
            "main_t": slopes.t("main"),
            "concordance_active": active,
            "concordance_control": control,
            "benefit_concordance": active - control,
        }

    def _prognosis(self, rows: pd.DataFrame) -> dict[str, float]:
        """Tell how scores go with outcomes themselves, in crossover designs."""
        both = (rows["outcome_control"] + rows["outcome_active"]) / 2
        control, main = (
            fit_slopes(self._trial_of(rows.assign(outcome_outcome=values), is_beyond=True))
            for values in (rows["outcome_control"], both)
        )
        standardised = control.estimate["interaction"] / control.sd if control.sd > 0 else 0.0
        times = {"prognostic_t": control.t("interaction"), "main_t": main.t("interaction")}
        return {"prognostic": standardised, **times}

    def details(self, rows: pd.DataFrame) -> dict[str, Any]:
        """Compute what effects by thirds and curves are drawn from, and tables hold.

        Returns
        -------
        dict
            ``thirds``, see `fmnet.evaluation.moderation.effect_by_thirds`; ``curve``: ``fraction``
            of people, those with the highest scores first, and ``toc``, ``qini`` there, with
            ``_low`` and ``_high``; ``autoc_ci`` and ``qini_ci``; ``slopes``: estimate, interval and
            t of each; ``arms``: ``name``, ``n``, mean outcome and baseline of each; ``balance``:
            standardised difference and p of what was known before; ``power``.
        """
        trial = self._trial_of(rows)
        if not _is_enough(trial):
            return {}
        slopes = fit_slopes(trial)
        table = {
            name: {
                "estimate": slopes.estimate[name],
                "ci": list(slopes.interval(name)),
                "t": slopes.t(name),
            }
            for name in slopes.estimate
        }
        return {
            "unit": self.outcome,
            "benefit": self.benefit,
            "arm_names": list(self.arms or ("control", "active")),
            "thirds": moderation.effect_by_thirds(trial),
            **moderation.rate_curves(trial),
            "slopes": table,
            **self._people(rows),
        }

    def _people(self, rows: pd.DataFrame) -> dict[str, Any]:
        """Count and compare the people of both arms."""
        people = rows.drop_duplicates("participant_id")
        control, active = self.arms or ("control", "active")
        if self.is_crossover:
            power = {"n": len(people), "interaction": moderation.smallest_slope(len(people))}
            return {"arms": [], "balance": [], "power": power}
        arm = people["outcome_arm"].to_numpy(float)
        roles = [
            name for name in ("baseline", *self._covariate_roles) if f"outcome_{name}" in people
        ]
        arms = [
            {
                "name": name,
                "n": int((arm == value).sum()),
                **{
                    role: float(people.loc[arm == value, f"outcome_{role}"].mean())
                    for role in ("outcome", *roles)
                },
            }
            for value, name in enumerate((control, active))
        ]
        balance = []
        for role in roles:
            gap, p = moderation.standardised_difference(people[f"outcome_{role}"].to_numpy(), arm)
            balance.append({"column": self.columns[role], "difference": gap, "p": p})
        counts = arms[0]["n"], arms[1]["n"]
        power = {
            "n_control": counts[0],
            "n_active": counts[1],
            "interaction": moderation.smallest_interaction(*counts),
            "correlation": moderation.smallest_correlation(*counts),
            "for_correlation_of_0.4": moderation.people_for_correlations(0.4),
        }
        return {"arms": arms, "balance": balance, "power": power}

    @property
    def _covariate_roles(self) -> list[str]:
        return [f"covariate_{name}" for name in self.covariates]

    def statistic(self, scores: Numbers, outcomes: Outcomes, fold: NDArray[np.intp]) -> float:
        """Divide the interaction of arm and score by its HC3 standard error.

        One-sided: only scores that are larger where the arm does more count. Studentised, so that
        an outcome that varies more in one arm than in the other doesn't pass for an interaction.
        """
        score, once = scores[:, 0].astype(float), np.zeros(len(outcomes), dtype=np.intp)
        trial = self._trial(outcomes.values, score, once, fold, outcomes.units)
        return fit_slopes(trial).t("interaction") if _is_enough(trial) else 0.0

    def exchanged(self, outcomes: Outcomes, order: NDArray[np.intp]) -> Outcomes:
        """Draw arms anew, with the average effect of the arm taken from and given to outcomes.

        Under the null hypothesis the arm adds the same to everybody: without it, outcomes, baseline
        and scans are what they would be in any allotment of arms, and all allotments within strata
        are equally likely. So the permutation test is exact for a known average effect, keeps the
        main effects of arm, baseline and a marker that foretells outcomes in both arms, and is
        asymptotically valid with the effect estimated here; the regression that is tested takes the
        rest out again. People exchange arms within strata and parts of the baseline's range. Of a
        crossover, differences within persons are exchanged, within the order of periods: exact.

        References
        ----------
        Ding, P., Feller, A., & Miratrix, L. (2016). Randomization inference for treatment effect
        variation. Journal of the Royal Statistical Society B, 78.
        Wu, J., & Ding, P. (2021). Randomization tests for weak null hypotheses in randomized
        experiments. Journal of the American Statistical Association, 116.
        """
        values = outcomes.values
        known = np.flatnonzero(self.is_known(outcomes))
        taken = order_within(outcomes, order, self.exchange_blocks(outcomes))
        if self.is_crossover:
            return super().exchanged(outcomes, taken)
        arm, one = values["arm"], np.ones((len(outcomes), 1))
        design = np.hstack([one, arm[:, None], self.adjusted(values)])
        effect = np.linalg.lstsq(design[known], values["outcome"][known], rcond=None)[0][1]
        drawn = arm[taken]
        return outcomes.replace(arm=drawn, outcome=values["outcome"] + effect * (drawn - arm))

    def exchange_blocks(self, outcomes: Outcomes) -> list[str]:
        """Name the block of each scan, (N,), within which arms (or differences) are exchanged."""
        values = outcomes.values
        if self.is_crossover:
            kind = values.get("order", np.zeros(len(outcomes)))
            return [str(one) for one in kind]
        kind = values.get("stratum", np.zeros(len(outcomes)))
        part = _parts(outcomes, kind, 10)
        known = self.is_known(outcomes)
        return [f"{one}/{third}/{yes}" for one, third, yes in zip(kind, part, known, strict=True)]

    # --- what is said -----------------------------------------------------------------------------

    @property
    def meanings(self) -> tuple[Meaning, ...]:
        """Say what the effect and the ends of its interval are."""
        control, active = self.arms or ("control", "active")
        unit = f"{self.outcome}, {self.benefit} is better"
        means = (
            f"by how much people with such a score fare better under {active} than under {control},"
            " on average, by this model; below 0: worse"
        )
        means_not = (
            f"not how this person will fare, nor what this person would have done under {control}:"
            " nobody is in both arms, and a person's own effect can't be seen"
        )
        if self.is_crossover:
            means_not = (
                "not how this person will fare, nor a reason to give or withhold a treatment"
            )
        ends = {"low": "lower", "high": "upper"}
        return (
            Meaning("effect", unit, means, means_not),
            *(
                Meaning(
                    f"effect_{end}",
                    unit,
                    f"{name} end of the 95 % interval of that average effect",
                    "not a range that holds the effects of persons, which differ by more",
                )
                for end, name in ends.items()
            ),
        )

    def summary(self, outcomes: Outcomes) -> str:
        """Say who was studied: how many in each arm, and the outcome on average."""
        control, active = self.arms or ("control", "active")
        people = np.array(outcomes.participants)
        if self.is_crossover:
            n = len(set(people))
            return f"{n} people in both arms ({active} and {control}), outcome {self.outcome}"
        counts = {
            name: len(set(people[outcomes["arm"] == value]))
            for value, name in ((1, active), (0, control))
        }
        means = [f"{outcomes['outcome'][outcomes['arm'] == arm].mean():.3g}" for arm in (1, 0)]
        listed = " and ".join(f"{n} in {name}" for name, n in counts.items())
        return (
            f"{sum(counts.values())} people, {listed}; {self.outcome} {means[0]} and {means[1]} on"
            f" average, {self.benefit} is better"
        )

    def verdict(self, facts: Mapping[str, Any]) -> list[Said]:
        """Say whether the score is a moderator; if not, whether it is prognostic."""
        return response_verdict(facts)


def _is_enough(trial: Trial) -> bool:
    """Tell whether a regression has people to stand on, in both arms."""
    if trial.arm is None:
        return len(np.unique(trial.unit)) > trial.adjusted.shape[1] + 3
    return all(len(np.unique(trial.unit[trial.arm == one])) >= 3 for one in (0, 1))


def _parts(outcomes: Outcomes, kind: Numbers, least: int = 5) -> NDArray[np.intp]:
    """Cut each kind by baseline into up to three parts of `least` people or more: (N,)."""
    part = np.zeros(len(outcomes), dtype=np.intp)
    if "baseline" not in outcomes.values:
        return part
    people, baseline = np.array(outcomes.participants), outcomes["baseline"]
    for one in np.unique(kind[~np.isnan(kind)]):
        rows = np.flatnonzero((kind == one) & ~np.isnan(baseline))
        n_parts = int(np.clip(len(set(people[rows])) // least, 1, 3))
        cuts = np.quantile(baseline[rows], np.arange(1, n_parts) / n_parts) if len(rows) else []
        part[rows] = np.searchsorted(cuts, baseline[rows])
    return part


def order_within(
    outcomes: Outcomes, order: NDArray[np.intp], blocks: Sequence[str]
) -> NDArray[np.intp]:
    """Turn an order of scans, (N,), into one that exchanges people of the same block only.

    Each person takes the place of the next one of their block that the order leads to, from place
    to place. Orders that are equally likely lead to such that are equally likely within blocks.
    """
    number, people = pd.factorize(np.array(outcomes.participants, dtype=object))
    first = np.zeros(len(people), dtype=np.intp)
    first[number[::-1]] = np.arange(len(number))[::-1]
    place, block = number[np.asarray(order)[first]], np.array(blocks, dtype=object)[first]
    taken = place.copy()
    for _ in range(len(people)):
        is_off = block[taken] != block
        if not is_off.any():
            break
        taken[is_off] = place[taken[is_off]]
    taken = np.where(block[taken] == block, taken, np.arange(len(people)))
    return first[taken[number]]


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


def _too_few(found: str, fewest: int) -> Fault:
    action = "lower target.fewest only with a reason: an interaction needs many people"
    return Fault("cohort", found, f"{fewest} or more", action)
