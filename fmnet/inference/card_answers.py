"""Sections of a card on the answer: which groups stay possible, probability, place among people."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fmnet.inference.bundle import Bundle
from fmnet.inference.card_charts import draw_probability, draw_scores
from fmnet.inference.card_shell import chance, group_names, safe, span
from fmnet.inference.model_card import percent
from fmnet.inference.predict import Prediction, Request
from fmnet.inference.results import base_rate
from fmnet.inference.sets import DELTA, PredictiveValues, SetRule, fit_sets, predictive_values
from fmnet.inference.study_people import StudyPeople
from fmnet.inference.unseen_scores import UnseenScores

#: Base rates at which a probability is stated besides the one that was asked for.
RATES = (0.02, 0.1, 0.5)
#: An interval wider than this is told with what is likeliest within it.
WIDE = 0.05
NO_PROBABILITY = (
    "None is stated: the study had nobody with a score like this one, so nothing is known of how "
    "probable it makes either group."
)


def set_words(groups: Sequence[str], names: tuple[str, str]) -> str:
    """Say in a few words which groups a score leaves possible."""
    first, second = names
    if len(groups) == 2:
        return f"Cannot say: the score is usual for both {first} and {second}"
    if not groups:
        return f"Fits neither {first} nor {second}: the score is unusual for both"
    other = second if groups[0] == first else first
    return f"The score is usual for {groups[0]} and unusual for {other}"


def answer_word(groups: Sequence[str]) -> str:
    """Name a set where there is little room: ``FM alone``, ``both``, ``neither``."""
    return f"{groups[0]} alone" if len(groups) == 1 else "both" if groups else "neither"


@dataclass(frozen=True, eq=False)
class StudyScores:
    """Scores of a study's people by models that had not seen them, ascending: (N_group,) each.

    ``zones`` are stretches of scores, from, to and what a set holds there; ``level_words`` say how
    often sets hold the right group.
    """

    positive: NDArray[np.float64]
    negative: NDArray[np.float64]
    zones: tuple[tuple[float, float, str], ...] = ()
    level_words: str = ""


def study_scores(
    bundle: Bundle, request: Request, people: StudyPeople | None = None
) -> StudyScores | None:
    """Gather the scores of the study's people, from wherever the bundle has them."""
    unseen = bundle.unseen
    if unseen is None:
        if people is None or not any(len(own) for own in people.scores.values()):
            return None
        return StudyScores(people.scores["positive"], people.scores["negative"])
    rule = fit_sets(unseen, request.level)
    most = np.ceil(100 * (1 - rule.level) - 1e-9) / 100  # rounded, it would promise too much
    words = (
        f"At most {percent(float(most))} of each group's own people get an answer that leaves "
        f"their group out, if they are scanned as the study's were; {percent(1 - DELTA)} of "
        "studies of this size keep that promise."
    )
    if rule.level < request.level:
        n = min(len(unseen.positive), len(unseen.negative))
        words += (
            f" {percent(1 - request.level)} was asked for, but {n} people of a group can't "
            "promise so little."
        )
    return StudyScores(unseen.positive, unseen.negative, _zones(rule, group_names(bundle)), words)


def _zones(rule: SetRule, names: tuple[str, str]) -> tuple[tuple[float, float, str], ...]:
    """Say from which score to which a set holds what."""
    limits = {*rule.positive, *rule.negative} - {-np.inf, np.inf}
    edges = [-np.inf, *sorted(limits), np.inf]
    zones: list[tuple[float, float, str]] = []
    for start, end in pairwise(edges):
        inside = np.clip((np.nan_to_num(start) + np.nan_to_num(end)) / 2, start, end)
        held = rule.groups(float(inside), names)
        word = answer_word(held)
        if zones and zones[-1][2] == word:
            start = zones.pop()[0]
        zones.append((start, end, word))
    return tuple(zones)


def answer(bundle: Bundle, prediction: Prediction, study: StudyScores | None) -> str:
    """Say of a scan of two groups which of them its score leaves possible."""
    names = group_names(bundle)
    if prediction.groups is None:
        lacking = (
            "This bundle holds no scores of people whom its models had not seen: there is no set "
            "of groups that can't be ruled out, and no interval."
        )
        return f'<p class="box">{lacking}</p>'
    said = safe(f"{set_words(prediction.groups, names)}.")
    said = f"Forced: {said}" if prediction.status == "forced" else said
    level = "" if study is None else study.level_words
    return (
        f'<p class="answer"><strong>{said}</strong></p>'
        f'<p class="small">This is said of the score, and not of the person. {safe(level)}</p>'
    )


def probability(bundle: Bundle, prediction: Prediction, request: Request) -> str:
    """State the probability as so many of 100 people, at the base rate that was asked for."""
    if prediction.groups == ():
        return f"<h2>Probability</h2><p>{NO_PROBABILITY}</p>"
    if prediction.probability is None or bundle.calibration is None:
        return ""
    p, interval, group = prediction.probability, prediction.interval, group_names(bundle)[0]
    rate = base_rate(bundle, request)
    told = chance(p) if interval is None else span(*interval)
    given = "as many are scanned of each group as in the study"
    if rate is not None:
        given = f"{percent(rate)} of those who are scanned belong to {group}"
    lead = (
        f"Of people with such a score, <b>{told}</b> would belong to {safe(group)}, if "
        f"{safe(given)}."
    )
    is_wide = interval is not None and interval[1] - interval[0] > WIDE
    notes = [f"The likeliest within that range is {chance(p)}." if is_wide else ""]
    notes.append(
        "The range is a 95 % interval: so much is left open by the number of people in the study."
        if interval
        else "How sure that is, this bundle doesn't say."
    )
    if rate is not None and request.prevalence is None:
        notes.append(
            "Nobody stated how common the group is among those who are scanned, so it is taken as "
            "in the signature's calibration; say it with --prevalence."
        )
    chart = draw_probability(p, interval, rate, group)
    return (
        f"<h2>Probability, and what it depends on{_mark(prediction)}</h2><p>{lead}</p>{chart}"
        f'<p class="small">{safe(" ".join(filter(None, notes)))}</p>'
        + _at_other_rates(p, interval, rate, group)
    )


def _mark(prediction: Prediction) -> str:
    """Mark the headings of a score that was forced, since pages get parted."""
    return " (forced)" if prediction.status == "forced" else ""


def _at_other_rates(
    p: float, interval: tuple[float, float] | None, rate: float | None, group: str
) -> str:
    """Tabulate the same score at other base rates."""
    if rate is None or not 0 < rate < 1:
        return ""

    def moved(value: float, to: float) -> float:
        odds = value * (1 - rate) * to
        return odds / (odds + (1 - value) * rate * (1 - to))

    rows = ""
    for to in sorted({*RATES, rate}):
        ends = (p, p) if interval is None else interval
        found = span(moved(ends[0], to), moved(ends[1], to))
        here = " (this card)" if to == rate else ""
        rows += f'<tr><td>{percent(to)}{here}</td><td class="number">{found}</td></tr>'
    return (
        f'<table class="narrow"><thead><tr><th>{safe(group)} among those scanned</th>'
        f'<th class="number">{safe(group)} among people with such a score</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def worth(bundle: Bundle, request: Request) -> str:
    """Say how often answers of one group alone are right, at the base rate that was asked for."""
    rate = base_rate(bundle, request)
    if bundle.unseen is None or rate is None or not 0 < rate < 1:
        return ""
    found = _values(bundle.unseen, request.level, rate)
    rows = ""
    for name, value in zip(group_names(bundle), (found.positive, found.negative), strict=True):
        told = "nobody of the study got it" if value is None else span(value.low, value.high)
        rows += f"<tr><td>{safe(name)} alone</td><td>{safe(name)}: {told}</td></tr>"
    group = safe(group_names(bundle)[0])
    return (
        f"<h2>What such answers are worth</h2><p>Where {percent(rate)} of those who are scanned "
        f'belong to {group}:</p><table class="narrow"><thead><tr><th>Of people with the answer</th>'
        f"<th>so many belong to</th></tr></thead><tbody>{rows}</tbody></table>"
        '<p class="small">These are the positive and the negative predictive value, as 95 % '
        "intervals, from the study's own people, each judged by the others.</p>"
    )


@lru_cache(maxsize=4)
def _values(unseen: UnseenScores, level: float, rate: float) -> PredictiveValues:
    """Compute once what is the same on each card."""
    return predictive_values(unseen, level, rate)


def place(bundle: Bundle, prediction: Prediction, study: StudyScores | None) -> str:
    """Show a score among those of the study's people."""
    if study is None or prediction.score is None:
        return ""
    names, score = group_names(bundle), prediction.score
    groups = list(zip(names, (study.positive, study.negative), strict=True))
    everything = np.concatenate([own for _, own in groups])
    if not len(everything):
        return ""
    counted = "; ".join(f"{name}: {int((own < score).sum())} of {len(own)}" for name, own in groups)
    odd = ""
    if not everything.min() <= score <= everything.max():
        side = "above" if score > everything.max() else "below"
        odd = f" <strong>It lies {side} all scores of the study's people.</strong>"
    return (
        f"<h2>Among the study's people{_mark(prediction)}</h2>"
        f"{draw_scores(groups, score, study.zones)}"
        f"<p>A larger score is more like {safe(names[0])} than {safe(names[1])}. People of the "
        f"study with a smaller score: {safe(counted)}. Each of them is a dot, scored by a model "
        f"that had not seen them; scores of different models are brought onto one scale.{odd}</p>"
    )
