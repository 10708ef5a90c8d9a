"""Who falls ill, and when: the time from a scan to an event that not everybody has had yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.data.covariates import ACCEPTED_NUMBERS, MISSING_NUMBERS, read_numbers
from fmnet.data.outcomes import Numbers, Outcomes
from fmnet.errors import Fault
from fmnet.evaluation.survival import (
    FollowUp,
    censored_after,
    integrated,
    kaplan_meier,
    median_follow_up,
)
from fmnet.evaluation.survival_groups import people_by_risk, risk_of_others
from fmnet.inference.links import HazardLink
from fmnet.networks.heads import Head
from fmnet.targets.base import Meaning, Null, Primary, Said, Target, unit_responses
from fmnet.targets.hazards import (
    DiscreteHazardHead,
    HazardHead,
    HazardWithoutScans,
    fit_hazard_link,
)
from fmnet.targets.sentences import answer, beside
from fmnet.types import Count, Positives, Several

#: What cells of an event column may say.
EVENT_WORDS = {"1": 1.0, "true": 1.0, "yes": 1.0, "0": 0.0, "false": 0.0, "no": 0.0}
ACCEPTED_EVENTS = "1, true or yes for the event; 0, false or no for none so far; n/a if unknown"
#: Nobody is followed for longer, in years: it would be an age, or a calendar year.
LONGEST = 40.0
YEARS = {"years": 1.0, "months": 1 / 12, "weeks": 7 / 365.25, "days": 1 / 365.25}
#: Fewest people who had the event by a stated time, and who were followed up to it without.
MIN_AT_TIME = 5
#: Log hazards that vary less within folds (as a standard deviation) have no slope to speak of.
LEAST_SPREAD = 0.05
#: With fewer a C of 0.7 has an interval of about ±0.1 or more.
ENOUGH_EVENTS = 30


@dataclass(frozen=True)
class Onset(Target):
    """When an event happens, from the day of the scan on.

    Parameters
    ----------
    time, event : str
        Columns of the tables: how long somebody was followed, from the scan to the event or else
        to when they were last seen without it; and whether it was the event.
    times : list of float
        By when the risk is stated; the last is also up to when people are compared.
    unit : str
        Of all times.
    loss : str
        What networks learn by gradients: ``cox``, the partial likelihood of each batch, or
        ``discrete``, the hazards of intervals, for small batches.
    n_intervals : int
        Of ``loss=discrete``: as many as this, with about as many events in each.
    min_events : int
        Fewest events of the training people of a fold.
    """

    kind: ClassVar[str] = "onset"
    title: ClassVar[str] = "when it begins"

    time: str = "time"
    event: str = "event"
    times: Positives = (2.0, 5.0)
    unit: Literal["years", "months", "weeks", "days"] = "years"
    loss: Literal["cox", "discrete"] = "cox"
    n_intervals: Several = 5
    min_events: Count = 10

    # --- what is read -----------------------------------------------------------------------------

    @property
    def columns(self) -> dict[str, str]:
        """Column of the tables that time and event are read from."""
        return {"time": self.time, "event": self.event}

    @property
    def stated(self) -> tuple[float, ...]:
        """Times at which risks are stated, in order."""
        return tuple(sorted({float(time) for time in self.times}))

    @property
    def tau(self) -> float:
        """Up to when people are compared: the last of the stated times."""
        return self.stated[-1]

    @property
    def _up_to(self) -> float:
        return float(np.nextafter(self.tau, np.inf))  # events of that very time count

    def read(self, texts: pd.DataFrame) -> tuple[Self, dict[str, Numbers], list[Fault]]:
        """Turn texts into times, and events into 0 and 1, see `Target.read`."""
        people = texts["participant_id"].astype(str).tolist()
        numbers = read_numbers(texts[self.time])
        cells = [str(cell).strip().casefold() for cell in texts[self.event]]
        is_told = np.array([cell not in MISSING_NUMBERS for cell in cells], dtype=bool)
        plain = [cell.removesuffix(".0") for cell in cells]
        event = np.array([EVENT_WORDS.get(cell, np.nan) for cell in plain])
        longest = LONGEST / YEARS[self.unit]
        faults: list[Fault] = []
        wrong = is_told & np.isnan(event)
        is_code = np.array([cell.isdecimal() for cell in plain], dtype=bool)
        competing = (
            "write 0 for a competing event, with its time: risks are then those there would be "
            "without it; or leave these people out"
        )
        if not (event == 0).any():
            competing = "if 1 stands for no event and 2 for one, write 0 and 1"
        times = f"{ACCEPTED_NUMBERS}; {self.unit} from the scan to the event, or to when somebody"
        times += " was last seen without it"
        for rows, column, accepted, action in (
            (numbers.is_wrong, self.time, times, "correct the cell, or write n/a"),
            (
                numbers.values < 0,
                self.time,
                f"times of 0 {self.unit} or more",
                "leave out who had the event before the scan: nothing is left to predict; count "
                "from the scan",
            ),
            (
                (numbers.values == 0) & (event == 1),
                self.time,
                "events after the scan",
                "leave out who had the event when scanned: nothing is left to predict",
            ),
            (
                (numbers.values == 0) & (event == 0),
                self.time,
                "people who were seen again after the scan",
                "leave out who was never seen again, or write n/a",
            ),
            (
                numbers.values > longest,
                self.time,
                f"up to {longest:g} {self.unit} from the scan; neither ages nor calendar years "
                "(follow-up that began before the scan isn't supported)",
                "count from the day of the scan, or set target.unit",
            ),
            (
                wrong & is_code,
                self.event,
                f"one kind of event: {ACCEPTED_EVENTS}",
                competing,
            ),
            (wrong & ~is_code, self.event, ACCEPTED_EVENTS, "correct the cell, or write n/a"),
        ):
            faults += [
                Fault(
                    f"{people[row]}, {column}",
                    repr(str(texts[column].iloc[row])),
                    accepted,
                    action,
                    people[row],
                )
                for row in np.flatnonzero(rows)
            ]
        is_off = (numbers.values <= 0) | (numbers.values > longest)
        time = np.where(is_off, np.nan, numbers.values)
        return self, {"time": time, "event": event}, faults

    def check(self, outcomes: Outcomes) -> list[Fault]:
        """Find too few events, and stated times that too few people tell anything of."""
        people = _people(outcomes)
        faults = self._check_events(people, "the cohort")
        time, event = people["time"], people["event"] > 0
        for at in self.stated:
            had, beyond = int((event & (time <= at)).sum()), int(_is_beyond(time, event, at).sum())
            if min(had, beyond) >= MIN_AT_TIME:
                continue
            longest = float(np.nanmax(time)) if len(people) else 0.0
            found = (
                f"{at:g} {self.unit}, by when {had} had the event and up to which {beyond} were "
                f"followed without it; the longest follow-up is {longest:g}"
            )
            accepted = f"times with {MIN_AT_TIME} people or more of either kind"
            faults.append(Fault("target.times", found, accepted, "state the risk at other times"))
        return faults

    def check_training(self, train: Outcomes, where: str) -> list[Fault]:
        """Find fewer events among the training people of a fold than can be learned from."""
        return self._check_events(_people(train), where)

    def _check_events(self, people: pd.DataFrame, where: str) -> list[Fault]:
        n_events = int((people["event"] > 0).sum())
        if n_events >= self.min_events:
            return []
        found = f"{n_events} events among {len(people)} people to learn from"
        accepted = f"{self.min_events} events or more"
        action = "follow people for longer, add people, or have fewer folds"
        return [Fault(where, found, accepted, action)]

    def strata(self, outcomes: Outcomes) -> list[str]:
        """Name whether somebody had the event, and whether sooner than half of those alike."""
        time, event = outcomes["time"], outcomes["event"]
        found = np.full(len(outcomes), "unknown", dtype=object)
        for value, word in ((1.0, "event"), (0.0, "no event")):
            rows = (event == value) & np.isfinite(time)
            if rows.any():
                sooner = time <= np.median(time[rows])
                found[rows & sooner], found[rows & ~sooner] = f"{word}, sooner", f"{word}, later"
        return [str(one) for one in found]

    # --- what is learned --------------------------------------------------------------------------

    @property
    def score_names(self) -> tuple[str, ...]:
        """One score, a log relative hazard."""
        return ("score",)

    def head(self) -> Head:
        """Build the head of the loss chosen."""
        return DiscreteHazardHead() if self.loss == "discrete" else HazardHead()

    def fit_null(self, outcomes: Outcomes, train: NDArray[np.intp]) -> Null:
        """Learn the cumulative hazard of the training people: who had the event too soon for it.

        Responses are martingale residuals; of others they are what that hazard makes of them.
        """
        time, event = outcomes["time"], outcomes["event"]
        rows = train[self.is_known(outcomes.take(train))]
        hazard = HazardWithoutScans(time[rows], event[rows])
        residual = event - np.where(np.isnan(time), np.nan, hazard.at(np.nan_to_num(time)))
        residual[rows] = hazard.residuals()
        losses = np.stack([time, event], axis=1).astype(np.float32)
        if self.loss == "discrete":
            known = hazard.intervals(np.nan_to_num(time), event, self.n_intervals)
            losses = np.concatenate([losses, known], axis=1)
            losses[np.isnan(losses[:, :2]).any(axis=1)] = np.nan
        return Null(unit_responses(residual[:, None], train), losses)

    def fit_link(self, scores: Numbers, outcomes: Outcomes) -> HazardLink:
        """Fit a Cox model to the scores: risks at the stated times."""
        known = self.is_known(outcomes) & np.isfinite(scores[:, 0])
        own = outcomes.take(known)
        n_people = len(set(own.participants))
        return fit_hazard_link(
            scores[known, 0].astype(float),
            own["time"],
            own["event"],
            self.stated,
            self.unit,
            n_people / max(len(own), 1),
        )

    # --- how it is judged -------------------------------------------------------------------------

    @property
    def primary(self) -> Primary:
        """Uno's C: how often of two people the one with the higher score has the event earlier."""
        return Primary("uno_c", f"Uno's C up to {self.tau:g} {self.unit}", 0.5)

    def figures(self, rows: pd.DataFrame) -> dict[str, float]:
        """Compute C, AUC(t), Brier scores and calibration, see `Target.figures`.

        People are compared within folds. That somebody wasn't censored is weighed by the
        distribution of censoring among all people given. Brier scores are beside those of
        Kaplan-Meier curves of the people of other folds, which know nothing of anybody.
        """
        follow = follow_up(rows)
        at, score = np.array(self.stated), rows["score"].to_numpy(float)
        higher = follow.higher(score)
        risk = np.stack([rows[f"risk_{time:g}"].to_numpy(float) for time in self.stated], axis=1)
        brier = follow.briers(risk, at)
        repeat = rows["repeat"].to_numpy(int)
        by_chance = follow.briers(risk_of_others(follow, repeat, at), at)
        observed = 1 - kaplan_meier(follow.time, follow.event, at)
        means = risk.mean(axis=0)
        found = {
            "uno_c": follow.concordance(higher, follow.uno_weights(self._up_to)),
            "harrell_c": follow.concordance(higher, np.ones(len(rows))),
            "calibration_slope": _calibration_slope(follow, rows["relative_hazard"]),
            "integrated_brier": integrated(brier, at),
            "integrated_brier_skill": 1 - _ratio(integrated(brier, at), integrated(by_chance, at)),
        }
        aucs = follow.aucs(higher, at)
        for k, time in enumerate(self.stated):
            found |= {
                f"auc_{time:g}": float(aucs[k]),
                f"brier_{time:g}": float(brier[k]),
                f"brier_skill_{time:g}": 1 - _ratio(brier[k], by_chance[k]),
                f"observed_to_expected_{time:g}": _ratio(observed[k], means[k]),
            }
        return found

    def details(self, rows: pd.DataFrame) -> dict[str, Any]:
        """Compute curves of people in thirds of the score, and how risks fit what happened."""
        risks = [f"risk_{time:g}" for time in self.stated]
        people = people_by_risk(rows, risks)
        return {
            "times": list(self.stated),
            "unit": self.unit,
            "n_events": int(people.event.sum()),
            "median_follow_up": _number(median_follow_up(people.time, people.event)),
            "curves": people.curves(),
            "log_rank": people.log_rank(),
            "calibration": people.calibration(self.stated),
        }

    def statistic(self, scores: Numbers, outcomes: Outcomes, fold: NDArray[np.intp]) -> float:
        """Compute z of the Cox score test within folds: the log-rank test of a graded score.

        Not C, which leans on a few late events where many left before: of 100 simulated people,
        half of them gone within two years, it finds a marker of 10 of 200 features in 38 % of
        studies, and z in 57 %. Where few leave both find as many.
        """
        known = np.isfinite(outcomes["time"]) & np.isfinite(outcomes["event"])
        follow = FollowUp(outcomes["time"][known], outcomes["event"][known] > 0, fold[known])
        return follow.score_test(scores[known, 0])

    # --- what is said -----------------------------------------------------------------------------

    @property
    def meanings(self) -> tuple[Meaning, ...]:
        """Say what the risks and the relative hazard are."""
        risks = tuple(
            Meaning(
                f"risk_{time:g}",
                "probability",
                f"what fraction of people with such a scan has had the event by {time:g} "
                f"{self.unit} after it, among people like those studied, if nothing else comes "
                "first",
                "what will happen to this person, or when; nor a risk among people in whom the "
                "event is more or less common",
            )
            for time in self.stated
        )
        relative = Meaning(
            "relative_hazard",
            "times",
            "how many times as likely the event is at any moment, for those who haven't had it, as "
            "with the mean score of the people studied",
            "a risk: three times a small risk is small; nor a cause of the event",
        )
        return (*risks, relative)

    def summary(self, outcomes: Outcomes) -> str:
        """Say how many had the event, and how long people were followed."""
        people = _people(outcomes)
        time, event = people["time"].to_numpy(float), (people["event"] > 0).to_numpy(bool)
        middle = median_follow_up(time, event)
        told = f"median follow-up {middle:.3g} {self.unit} (reverse Kaplan-Meier)"
        if np.isnan(middle):
            told = f"followed for up to {time.max():.3g} {self.unit}, most until their event"
        return f"{len(people)} people, {int(event.sum())} with the event; {told}"

    def verdict(self, facts: Mapping[str, Any]) -> list[Said]:
        """Say whether scans tell who has the event earlier, and whether risks can be believed."""
        name = facts["studied"]
        figures, details = facts["models"][name], facts["details"][name]
        which = "the event" if self.event == "event" else f"the event ({self.event})"
        claim = f"scans tell which of new people has {which} earlier"
        said = [answer(facts, self.primary, claim)]
        said += beside(facts, self.primary)
        curve = "than the same Kaplan-Meier risk for everybody"
        told = _stated(figures, "integrated_brier_skill", "Brier skill")
        if _ends(figures, "integrated_brier_skill")[0] > 0:
            said.append(Said(f"Its risks are nearer to what happens {curve} ({told})"))
        elif told:
            doubt = f"Its risks aren't shown to be nearer to what happens {curve} ({told})"
            said.append(Said(doubt, "amber"))
        told = _stated(figures, "calibration_slope", "calibration slope")
        if not told:
            said.append(Said("Its risks hardly differ between people: it claims to know little"))
        elif _ends(figures, "calibration_slope")[0] > 1:
            said.append(Said(f"Its risks are too much alike ({told})", "amber"))
        elif _ends(figures, "calibration_slope")[1] < 1:
            said.append(Said(f"Its risks are too far apart ({told})", "amber"))
        n_events = details["n_events"]
        if n_events < ENOUGH_EVENTS:
            few = f"There are {n_events} events: C has wide intervals below {ENOUGH_EVENTS}"
            said.append(Said(few, "amber"))
        return said

    def tripod(self, facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """List items of TRIPOD+AI on outcome, follow-up and performance."""
        details = facts["details"][facts["studied"]]
        follow_up = details["median_follow_up"]
        middle = "not reached" if follow_up is None else f"{follow_up:.3g} {self.unit}"
        times = ", ".join(f"{time:g}" for time in self.stated)
        return [
            (
                "8a",
                "Outcome",
                f"Time from the scan to the event (columns {self.time} and {self.event}), in "
                f"{self.unit}; risks are stated at {times} {self.unit}. People who left without "
                "the event are censored, as if they had gone on like those who stayed.",
            ),
            (
                "12e",
                "Performance measures",
                f"Uno's C up to {self.tau:g} {self.unit}, AUC(t), Brier scores by inverse "
                "probability of censoring weights (censoring of all people studied), against "
                "Kaplan-Meier curves of the people of other folds; calibration slope (Cox model "
                "within folds), observed (Kaplan-Meier) over expected risk.",
            ),
            (
                "20a",
                "Participants",
                f"{facts['n_subjects']} people, {details['n_events']} events; median follow-up by "
                f"reverse Kaplan-Meier {middle}.",
            ),
        ]


def follow_up(rows: pd.DataFrame) -> FollowUp:
    """Take times, events and folds of a table; who is censored was seen without the event then."""
    time, event = rows["outcome_time"].to_numpy(float), rows["outcome_event"].to_numpy(float) > 0
    # (number of the repeat, of the fold) as one number from 0
    key = rows["repeat"].to_numpy(int) * (int(rows["fold"].max()) + 1) + rows["fold"].to_numpy(int)
    return FollowUp(censored_after(time, event), event, np.unique(key, return_inverse=True)[1])


def _is_beyond(time: Any, event: Any, at: float) -> Any:
    return (time > at) | ((time == at) & ~event)


def _people(outcomes: Outcomes) -> pd.DataFrame:
    """List each person once, with the time and event of the first scan where both are known."""
    table = outcomes.table().assign(person=outcomes.participants).dropna()
    return table.drop_duplicates("person")


def _stated(figures: Mapping[str, Any], name: str, title: str) -> str:
    """Write a figure with its interval; empty where it isn't known."""
    value, interval = figures.get(name), figures.get(f"{name}_ci")
    if value is None:
        return ""
    return f"{title} {value:.2f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "")


def _ends(figures: Mapping[str, Any], name: str) -> tuple[float, float]:
    interval = figures.get(f"{name}_ci")
    return (interval[0], interval[1]) if interval else (-np.inf, np.inf)


def _calibration_slope(follow: FollowUp, relative: pd.Series) -> float:
    """Fit the slope of log hazards within folds, 1 if they are right; NaN if they hardly vary."""
    log_hazard = np.log(relative.to_numpy(float))
    counts = np.bincount(follow.fold)
    centred = log_hazard - (np.bincount(follow.fold, log_hazard) / counts)[follow.fold]
    if centred.std() < LEAST_SPREAD or not follow.event.any():
        return float("nan")
    return float(follow.fit_cox(centred[:, None])[0])


def _ratio(value: float, by: float) -> float:
    return float(value / by) if by > 0 else float("nan")


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
