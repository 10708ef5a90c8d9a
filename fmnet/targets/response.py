"""Who responds to a treatment: for whom one arm of a trial does more than the other.

That somebody improves under a drug doesn't tell that it was the drug. So the score stands for the
*effect* of the arm, and what is tested is whether the arm does more for people with larger scores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.data.outcomes import Numbers, Outcomes
from fmnet.data.tables import say_some
from fmnet.errors import Fault
from fmnet.evaluation.moderation import (
    ScoredTrial,
    effect_by_thirds,
    fit_slopes,
    gain_left,
    ranked_within,
)
from fmnet.evaluation.rank_effects import (
    arm_concordance,
    pseudo_effects,
    rank_weighted_effects,
    rate_curves,
)
from fmnet.inference.links import EffectLink
from fmnet.networks.heads import Head
from fmnet.targets.arms import (
    NO_CONTROL,
    TWO_ARMS,
    baseline_parts,
    check_propensity,
    given_shares,
    name_arms,
    number_names,
    pair_columns,
    pair_periods,
    read_column,
    shares_of,
    too_few,
)
from fmnet.targets.base import Meaning, Null, Primary, Said, Target, plain_value, unit_responses
from fmnet.targets.effect import EffectHead, dr_learner, effect_link, r_learner
from fmnet.targets.response_words import describe_people, response_tripod, response_verdict
from fmnet.types import Fraction, Several

#: Fewest people of each arm that a fold may learn from.
FEWEST_TRAINING = 8


@dataclass(frozen=True)
class Response(Target):
    """Who responds: the effect of an arm on an outcome, by what scans show beforehand.

    Parameters
    ----------
    outcome : str
        Column with the outcome after treatment; of a crossover with a single row for each person,
        that under control.
    benefit : str
        Whether ``lower`` or ``higher`` outcomes are better.
    arm : str, optional
        Column with the arm of each person, or of each row of a crossover.
    arms : list of str, optional
        How control and active arm are written, control first; people of other arms are left out.
        By default there are two, one of which has a name that says control.
    baseline : str, optional
        Column with the outcome before treatment.
    covariates : list of str
        Further columns of numbers, known before arms were drawn, that gains are adjusted for.
    stratum : str, optional
        Column with the stratum within which arms were drawn.
    propensity : float or dict of float, optional
        How likely the active arm was, or by stratum; by default its share among training people.
    learner : str
        ``r`` (R-learner) or ``dr`` (doubly robust).
    design : str
        ``parallel``, or ``crossover`` where everybody was in both arms.
    outcome_active : str, optional
        Crossover: column with the outcome under the active arm, where both are in one row.
    order : str, optional
        Crossover: column with the arm that came first; or, where each period has a row of its own,
        with the number of the period.
    min_people : int
        Fewest people in each arm.
    strata_names : list of str
        Found by `read`: names of the strata.
    lacking : list of int
        Found by `read`: people of the control and of the active arm of whom something isn't known.
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
    propensity: Fraction | Mapping[str, Fraction] | None = None
    learner: Literal["r", "dr"] = "r"
    design: Literal["parallel", "crossover"] = "parallel"
    outcome_active: str | None = None
    order: str | None = None
    min_people: Several = 15
    strata_names: Sequence[str] = ()
    lacking: Sequence[int] = ()

    @property
    def is_crossover(self) -> bool:
        """Tell whether everybody was in both arms."""
        return self.design == "crossover"

    @property
    def both_arms(self) -> tuple[str, str]:
        """Name control and active arm."""
        control, active = self.arms or ("control", "active")
        return control, active

    # --- what is read -----------------------------------------------------------------------------

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
        has_two = "arm" in columns or "active" in columns
        if not has_two:
            return self, {}, [Fault("target.arm", "no column", TWO_ARMS, NO_CONTROL)]
        for role in (one for one in columns if one not in {"arm", "stratum", "order"}):
            values[role], own = read_column(texts, columns[role])
            faults += own
        read = self
        if "arm" in columns:
            arms, own = name_arms(texts[columns["arm"]], self.arms)
            if own:
                return self, {}, faults + own
            values["arm"], read = (
                number_names(texts[columns["arm"]], arms),
                replace(self, arms=arms),
            )
        if self.is_crossover:
            pair = pair_columns if self.outcome_active else pair_periods
            paired, own = pair(texts, values, self.order, read.both_arms)
            kept = {role: held for role, held in values.items() if role != "arm"}
            return read, kept | paired, faults + own
        if self.stratum:
            levels = tuple(sorted({plain_value(text) for text in texts[self.stratum]} - {""}))
            values["stratum"] = number_names(texts[self.stratum], levels)
            read = replace(read, strata_names=levels)
        lacks = np.isnan(np.stack(list(values.values()))).any(axis=0)
        people = texts["participant_id"].to_numpy()
        lacking = [len(set(people[lacks & (values["arm"] == arm)])) for arm in (0, 1)]
        read = replace(read, lacking=tuple(lacking))
        return read, values, faults + check_propensity(self.propensity, read.strata_names)

    def is_known(self, outcomes: Outcomes) -> NDArray[np.bool_]:
        """Tell of whom all is known, (N,)."""
        return np.asarray(~np.isnan(np.stack(list(outcomes.values.values()))).any(axis=0))

    def check(self, outcomes: Outcomes) -> list[Fault]:
        """Find a lack of people in an arm, people in two of them, and strata of one arm only."""
        people = np.array(outcomes.participants)
        if self.is_crossover:
            n = len(set(people))
            return (
                []
                if n >= self.min_people
                else [too_few(f"{n} people in both arms", self.min_people)]
            )
        arm, (control, active) = outcomes["arm"], self.both_arms
        groups = [set(people[arm == value]) for value in (0, 1)]
        if not all(groups):
            found = f"nobody in arm '{active if groups[0] else control}' whose outcome is known"
            return [Fault("target.arm", found, TWO_ARMS, NO_CONTROL)]
        faults = []
        if both := sorted(groups[0] & groups[1]):
            found = f"people in both arms: {say_some(both)}"
            action = "correct the table, or set target.design=crossover"
            faults.append(Fault("target.arm", found, "one arm for each person", action))
        for name, group in zip((control, active), groups, strict=True):
            if len(group) < self.min_people:
                faults.append(too_few(f"{len(group)} people in arm '{name}'", self.min_people))
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
            arms = {
                f"people in arm '{one}'": train["arm"][known] == k
                for k, one in enumerate(self.both_arms)
            }
        counts = {name: len(set(people[chosen])) for name, chosen in arms.items()}
        action = "have fewer folds, or more people"
        return [
            Fault(where, f"{n} {name}", f"{FEWEST_TRAINING} or more to learn from", action)
            for name, n in counts.items()
            if n < FEWEST_TRAINING
        ]

    def strata(self, outcomes: Outcomes) -> list[str]:
        """Name arm, stratum (or order of periods) and part of the baseline's range of each scan."""
        blocks = self.exchange_blocks(outcomes)
        if self.is_crossover:
            return blocks
        return [f"arm {arm:g}, {own}" for arm, own in zip(outcomes["arm"], blocks, strict=True)]

    # --- what is learned --------------------------------------------------------------------------

    @property
    def score_names(self) -> tuple[str, ...]:
        """One score: larger where the arm is said to help more."""
        return ("score",)

    def head(self) -> Head:
        """Build the head with the loss of the learners."""
        return EffectHead()

    def fit_null(self, outcomes: Outcomes, train: NDArray[np.intp]) -> Null:
        """Learn what is expected of people without their scans, and the effect of the arm on all.

        What is left of a gain, times what is left of the arm, points to people for whom the arm did
        more than on average. In crossover designs differences within persons are all there is; the
        effect of periods is taken out.
        """
        values = outcomes.values
        known = train[self.is_known(outcomes)[train]]
        gain, adjusted = self.gain(values), self.adjusted(values)
        if self.is_crossover:
            design = np.column_stack([np.ones(len(gain)), adjusted[:, : int("order" in values)]])
            left = gain - design @ np.linalg.lstsq(design[known], gain[known], rcond=None)[0]
            arm = np.ones(len(gain))
        else:
            learn = r_learner if self.learner == "r" else dr_learner
            share = self.shares(values, known)
            left, arm = learn(gain, values["arm"], share, adjusted, outcomes.units, known)
        scales = left[known].std() or 1.0, np.sqrt((arm[known] ** 2).mean()) or 1.0
        losses = np.stack([left / scales[0], arm / scales[1]], axis=1)
        return Null(unit_responses((left * arm)[:, None], train), losses.astype(np.float32))

    def fit_link(self, scores: Numbers, outcomes: Outcomes) -> EffectLink:
        """Learn the effect of the arm as a line of the score; one that isn't shown is flat."""
        nothing = np.zeros(len(outcomes), dtype=np.intp)
        score, units = scores[:, 0].astype(float), np.array(outcomes.units, dtype=object)
        trial = self._trial(outcomes.values, score, nothing, nothing, units)
        if not trial.is_enough():
            return EffectLink(0.0, float("nan"), (float("nan"), 0.0, 0.0))
        return effect_link(trial)

    def gain(self, values: Mapping[str, Numbers]) -> Numbers:
        """Give outcomes, (N,), the sign that makes larger ones better."""
        return values["outcome"] if self.benefit == "higher" else -values["outcome"]

    def adjusted(self, values: Mapping[str, Numbers]) -> Numbers:
        """Tabulate what gains are adjusted for, (N, P): order, baseline, covariates, strata."""
        roles = ["order", "baseline", *self._covariates]
        columns = [values[role] for role in roles if role in values]
        columns += [
            (values["stratum"] == number).astype(float)
            for number in range(1, len(self.strata_names))
        ]
        return np.stack(columns, axis=1) if columns else np.zeros((len(values["outcome"]), 0))

    @property
    def _covariates(self) -> list[str]:
        return [f"covariate_{name}" for name in self.covariates]

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
        units: NDArray[Any],
        is_beyond: bool = False,
    ) -> ScoredTrial:
        """Put together what is known of an out-of-fold table, sorted by repeat.

        Of differences within persons only the order of periods is taken out; with `is_beyond`, also
        what the effect may depend on.
        """
        known = np.flatnonzero(~np.isnan(np.stack([*values.values(), score])).any(axis=0))
        known = known[np.argsort(repeat[known], kind="stable")]
        own = {role: held[known] for role, held in values.items()}
        adjusted = self.adjusted(own)
        arm, share = None, None
        if not self.is_crossover:
            arm, share = own["arm"], self.shares(own, np.arange(len(known)))
        elif not is_beyond:
            adjusted = adjusted[:, : int("order" in own)]
        folds = pd.factorize(repeat[known] * (int(fold.max(initial=0)) + 1) + fold[known])[0]
        unit = pd.factorize(units[known])[0]
        place = (repeat[known], folds.astype(np.intp), unit.astype(np.intp))
        return ScoredTrial(self.gain(own), arm, share, adjusted, score[known], *place)

    def _trial_of(
        self, rows: pd.DataFrame, is_beyond: bool = False, of: Sequence[str] = ("outcome",)
    ) -> ScoredTrial:
        """Put together the out-of-fold table of one model; the outcome is the mean of roles."""
        values = {
            name.removeprefix("outcome_"): rows[name].to_numpy(float)
            for name in map(str, rows.columns)
            if name.startswith("outcome_")
        }
        values["outcome"] = np.mean([values[role] for role in of], axis=0)
        repeat, fold = (rows[name].to_numpy(np.intp) for name in ("repeat", "fold"))
        score, units = rows["score"].to_numpy(float), rows["unit"].to_numpy(object)
        return self._trial(values, score, repeat, fold, units, is_beyond)

    # --- how it is judged -------------------------------------------------------------------------

    @property
    def primary(self) -> Primary:
        """The interaction of arm and score.

        It uses everybody, holds the arms against each other at the same scores, and allows for
        scores that foretell outcomes in both arms. AUTOC rests on the few with the highest scores,
        and is the less certain of the two with some dozens of people.
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
            outcome, and their ratio ``interaction_t``; ``average_effect``; ``effect_low_third``,
            ``effect_middle_third`` and ``effect_high_third``, of people by score; ``autoc`` and
            ``qini``, in units of the outcome; ``prognostic``, slope of gain on score in the control
            arm in the same SDs, and its ``prognostic_t``; ``main_t``, of the mean slope in both
            arms; ``concordance_active`` and ``concordance_control``: how likely of two people of
            the arm the one with the higher score fares better, and ``benefit_concordance``, the
            first less the second (crossover: of differences within persons, less 0.5).
        """
        trial = self._trial_of(rows)
        if not trial.is_enough():
            return {self.primary.name: float("nan")}
        slopes = fit_slopes(trial)
        starts, rank = trial.starts(), ranked_within(trial.score, trial.fold)
        autoc, qini = rank_weighted_effects(pseudo_effects(trial), rank, starts)
        thirds = zip(("low", "middle", "high"), effect_by_thirds(trial), strict=True)
        found = {
            "interaction": slopes.standardised("interaction"),
            "interaction_estimate": slopes.estimate["interaction"],
            "interaction_se": slopes.se("interaction"),
            "interaction_t": slopes.t("interaction"),
            "average_effect": slopes.estimate["arm"],
            **{f"effect_{name}_third": own["effect"] for name, own in thirds},
            "autoc": autoc,
            "qini": qini,
        }
        left, _ = gain_left(trial)
        if trial.arm is None:
            control, main = (
                fit_slopes(self._trial_of(rows, True, of))
                for of in (("control",), ("control", "active"))
            )
            agreed = arm_concordance(left, rank, np.ones(len(left)), starts)
            return found | {
                "prognostic": control.standardised("interaction"),
                "prognostic_t": control.t("interaction"),
                "main_t": main.t("interaction"),
                "benefit_concordance": agreed - 0.5,
            }
        active, control_arm = (
            arm_concordance(left, rank, own, starts) for own in (trial.arm, 1 - trial.arm)
        )
        return found | {
            "prognostic": slopes.standardised("control"),
            "prognostic_t": slopes.t("control"),
            "main_t": slopes.t("main"),
            "concordance_active": active,
            "concordance_control": control_arm,
            "benefit_concordance": active - control_arm,
        }

    def details(self, rows: pd.DataFrame) -> dict[str, Any]:
        """Compute what effects by thirds and curves are drawn from, and tables hold.

        Returns
        -------
        dict
            ``outcome`` (its column), ``benefit`` and ``arm_names``, control first; ``thirds``, see
            `fmnet.evaluation.moderation.effect_by_thirds`; ``autoc``, ``qini`` and ``curve``, see
            `fmnet.evaluation.rank_effects.rate_curves`; ``slopes``: ``estimate``, ``ci`` and ``t``
            of each, and of ``beyond``, the interaction where the effect may vary with baseline and
            covariates too; ``arms``, ``balance`` and ``power``, see
            `fmnet.targets.response_words.describe_people`.
        """
        trial = self._trial_of(rows)
        if not trial.is_enough():
            return {}
        slopes, beyond = (
            fit_slopes(trial),
            fit_slopes(self._trial_of(rows, is_beyond=True), is_beyond=True),
        )
        shown = {name: (slopes, name) for name in slopes.estimate}
        shown["beyond"] = (beyond, "interaction")
        roles = [
            role for role in ("outcome", "baseline", *self._covariates) if role in self.columns
        ]
        return {
            "outcome": self.outcome,
            "benefit": self.benefit,
            "arm_names": list(self.both_arms),
            "thirds": effect_by_thirds(trial),
            **rate_curves(trial),
            "slopes": {
                name: {
                    "estimate": own.estimate[key],
                    "ci": list(own.interval(key)),
                    "t": own.t(key),
                }
                for name, (own, key) in shown.items()
            },
            **describe_people(rows, self.both_arms, {role: self.columns[role] for role in roles}),
        }

    def statistic(self, scores: Numbers, outcomes: Outcomes, fold: NDArray[np.intp]) -> float:
        """Divide the interaction of arm and score by its HC3 standard error.

        One-sided: only scores that are larger where the arm does more count. Studentised, so that
        an outcome that varies more in one arm than in the other doesn't pass for an interaction.
        """
        score, once = scores[:, 0].astype(float), np.zeros(len(outcomes), dtype=np.intp)
        units = np.array(outcomes.units, dtype=object)
        trial = self._trial(outcomes.values, score, once, fold, units)
        return fit_slopes(trial).t("interaction") if trial.is_enough() else 0.0

    def exchange_blocks(self, outcomes: Outcomes) -> list[str]:
        """Name stratum (or order of periods) and part of the baseline's range of each scan."""
        values, nothing = outcomes.values, np.zeros(len(outcomes))
        kind = values.get("order" if self.is_crossover else "stratum", nothing)
        part = baseline_parts(outcomes, kind)
        return [f"{one:g}, part {own}" for one, own in zip(kind, part, strict=True)]

    def exchanged(self, outcomes: Outcomes, order: NDArray[np.intp]) -> Outcomes:
        """Draw arms anew, with the average effect of the arm taken from and given to outcomes.

        Under the null hypothesis the arm adds the same to everybody: but for that, outcomes,
        baseline and scans would be what they are in any allotment of arms, and all allotments
        within `exchange_blocks` are equally likely. So the permutation test is exact for a known
        average effect, and keeps the main effects of arm, baseline and of a score that foretells
        outcomes in both arms. With the effect estimated, as here, it is so asymptotically; the
        regressions that learn and test take out again what it is off. Where arms also differ in
        other respects, as in variance, it is the studentised statistic that makes it valid, again
        asymptotically. Of a crossover, all that is known of people is exchanged within the order
        of periods: exact.

        References
        ----------
        Ding, P., Feller, A., & Miratrix, L. (2016). Randomization inference for treatment effect
        variation. Journal of the Royal Statistical Society B, 78.
        Wu, J., & Ding, P. (2021). Randomization tests for weak null hypotheses in randomized
        experiments. Journal of the American Statistical Association, 116.
        """
        if self.is_crossover:
            return super().exchanged(outcomes, order)
        values = outcomes.values
        known, arm = np.flatnonzero(self.is_known(outcomes)), values["arm"]
        design = np.column_stack([np.ones(len(arm)), arm, self.adjusted(values)])
        effect = np.linalg.lstsq(design[known], values["outcome"][known], rcond=None)[0][1]
        drawn = arm[order]
        return outcomes.replace(arm=drawn, outcome=values["outcome"] + effect * (drawn - arm))

    # --- what is said -----------------------------------------------------------------------------

    @property
    def meanings(self) -> tuple[Meaning, ...]:
        """Say what the effect and the ends of its interval are."""
        control, active = self.both_arms
        unit = f"{self.outcome}, {self.benefit} is better"
        means = (
            f"by how much people with such a score fare better under {active} than under {control},"
            " on average, by this model; below 0: worse"
        )
        means_not = (
            f"how this person will fare, or what this person would have done under {control}:"
            " nobody is in both arms, and a person's own effect can't be seen"
        )
        if self.is_crossover:
            means_not = "how this person will fare, or a reason to give or withhold a treatment"
        ends = {"low": "lower", "high": "upper"}
        return (
            Meaning("effect", unit, means, means_not),
            *(
                Meaning(
                    f"effect_{end}",
                    unit,
                    f"{name} end of the 95 % interval of that average effect",
                    "a range that holds the effects of persons, which differ by more",
                )
                for end, name in ends.items()
            ),
        )

    def summary(self, outcomes: Outcomes) -> str:
        """Say who was studied: how many in each arm, and the outcome on average."""
        control, active = self.both_arms
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
        return response_verdict(facts, self.lacking)

    def tripod(self, facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """List items of TRIPOD+AI, and of the PATH statement, that this target answers."""
        return response_tripod(self.describe(), facts, self.both_arms)

    def describe(self) -> dict[str, Any]:
        """Say what it is as plain values: with design, arms, learner and propensity."""
        given = self.propensity
        own = {
            "design": self.design,
            "arms": list(self.both_arms),
            "benefit": self.benefit,
            "learner": "" if self.is_crossover else self.learner,
            "propensity": dict(given) if isinstance(given, Mapping) else given,
            "lacking": list(self.lacking),
        }
        return super().describe() | own
