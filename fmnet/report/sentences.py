"""Put conclusions, power and learning curves of a study into sentences."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fmnet.data.listing import Listing
from fmnet.evaluation.conclusions import Conclusion, Conclusions, Kind
from fmnet.evaluation.power import LARGEST
from fmnet.inference.model_card import linear_sentence
from fmnet.inference.preparation import SERIES
from fmnet.inference.study_results import figure, say_p

Titles = Mapping[str, str]
Values = Mapping[str, Any]

#: How many columns, models or reruns are named of those that warnings are about.
MOST_NAMED = 4
#: How many groups of look-alikes a sentence names.
MOST_GROUPS = 5
#: What a p-value of the network's own holds for.
ALONE = "as if it alone had been planned"
NOT_TESTED = "whether that is above chance was not tested ({asked} would)"
#: What findings without a column, model or rerun are about.
ABOUT: dict[Kind, str] = {
    "look-alikes": "people who may be one",
    "motion not stated": "head motion",
}
PAIRED = "Not worked out: there are people with scans of both groups."
TOO_FEW = (
    "Not worked out: the fractions of so few people come to fewer than three sizes of training."
)

#: What has to be said first about maps that are not just as they were measured.
BANNERS = {
    "synthetic": "SYNTHETIC DATA, nobody was scanned.",
    "injected": "PLANTED EFFECT: known differences were added to real maps.",
}
#: What has to be said first about settings under which nothing is to be found.
SHUFFLED = "NEGATIVE CONTROL: labels were shuffled before anything else."
ELSEWHERE = "NEGATIVE CONTROL: only voxels outside of the grey matter were looked at."
NO_EFFECT = "NEGATIVE CONTROL: no effect was planted."
MOTION_ALONE = "NEGATIVE CONTROL: the groups were made to differ in nothing but head motion."


def put_into_words(facts: dict[str, Any], found: Conclusions) -> None:
    """Add to the facts of a study what they mean, in sentences.

    Parameters
    ----------
    facts : dict
        From `fmnet.evaluation.evaluate`, with ``titles``. ``verdict``, ``findings``,
        ``conclusions`` (the verdict's, typed), ``audit.findings``, perhaps
        ``audit_network.findings``, both of each network in ``further``, and the ``lines`` of
        ``power`` and ``learning_curve`` are added.
    found : Conclusions
        Of the same study.
    """
    titles = facts["titles"]
    facts["findings"] = [written(one, titles) for one in found.findings]
    for key, of_model in (("audit", found.of_audit), ("audit_network", found.of_network)):
        if key in facts:
            facts[key]["findings"] = [written(one, titles) for one in of_model]
    facts["conclusions"] = [vars(one) for one in found.verdict]
    facts["verdict"] = verdict(found.verdict, titles)
    for name, own in found.of_further.items():
        said = {"verdict": verdict(own, titles), "conclusions": [vars(one) for one in own]}
        facts.setdefault("further", {}).setdefault(name, {}).update(said)
    if facts.get("power"):
        facts["power"]["lines"] = power_lines(facts["power"], titles)
    if "learning_curve" in facts:
        facts["learning_curve"]["lines"] = curve_lines(facts["learning_curve"], titles)


def written(finding: Conclusion, titles: Titles) -> dict[str, Any]:
    """Write a finding as ``metrics.json`` holds it: severity, text, about, kind and values."""
    return {
        "severity": finding.severity,
        "text": finding_text(finding, titles),
        "about": about(finding.kind, finding.about, titles),
        "kind": finding.kind,
        "values": dict(finding.values),
    }


def about(kind: Kind, name: str, titles: Titles) -> str:
    """Say in a word or two what a finding is about."""
    return name_of(name, titles) if kind.startswith("shortcut") else ABOUT.get(kind, name)


def name_of(model: str, titles: Titles | None = None) -> str:
    """Name a model as reports do."""
    return (titles or {}).get(model) or model.replace("_", " ")


def with_interval(figures: Values, metric: str) -> str:
    """Write a figure with its interval: ``0.71 [0.59, 0.82]``."""
    value, interval = figures[metric], figures.get(f"{metric}_ci")
    if value is None:
        return "-"
    return f"{value:.2f}" if interval is None else figure(value, interval)


def banners(listing: Listing, settings: Mapping[str, Any]) -> list[str]:
    """List what a reader has to know before any figure."""
    found = [BANNERS[listing.origin]] if listing.origin else []
    return [*found, said] if (said := control(settings)) else found


def control(settings: Mapping[str, Any]) -> str:
    """Say what makes a run a negative control; empty for a study."""
    if settings.get("shuffle_labels"):
        return SHUFFLED
    if settings.get("preparation", {}).get("mask") in {"non_grey", "background"}:
        return ELSEWHERE
    cohort = settings.get("cohort", {})
    # synthetic runs have two effects, of which rest has one
    is_null = 0 == cohort.get("coupling") == cohort.get("task_effect")
    if is_null and cohort.get("motion_effect"):
        return MOTION_ALONE
    return NO_EFFECT if is_null or 0 in (cohort.get("effect_size"), cohort.get("amplitude")) else ""


def capital(text: str) -> str:
    """Begin a text with a capital."""
    return f"{text[:1].upper()}{text[1:]}"


def stopped(text: str) -> str:
    """End a sentence with a full stop, if nothing ends it."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def finding_text(finding: Conclusion, titles: Titles) -> str:
    """Put a finding into a sentence or two."""
    values, name = finding.values, finding.about
    model = name_of(values.get("model", ""), titles)
    match finding.kind:
        case "shortcut reaches model" | "shortcut above chance":
            return capital(
                f"{name_of(name, titles)} reaches AUC {with_interval(values, 'auc')} without "
                f"looking at any region of the brain; the {model} reaches "
                f"{with_interval(values, 'model_auc')}."
            )
        case "lost in rerun" | "weaker in rerun":
            return capital(
                f"{name.capitalize()} ({values['n_subjects']} people): the {model} reaches AUC "
                f"{with_interval(values, 'model_auc')}, an interval that reaches 0.5 or less; "
                f"{figure(values['model_auc_before'], values['model_auc_ci_before'])} before."
            )
        case "covariate reaches model":
            return f"{_alone(name, values, model)}."
        case "score follows covariate":
            return f"The {model}'s score {_follows(name, values)}."
        case "groups differ":
            return f"The groups differ in {name} (standardised difference {values['smd']:.2f})."
        case "head sizes differ":
            return (
                f"The groups differ in head size: {name} (standardised difference "
                f"{values['smd']:.2f}); fitting a head to the template changes its maps by its "
                "size, so that part of any result may be that."
            )
        case "look-alikes":
            return _look_alikes(values["groups"])
        case "not examined" | "names not examined" | "cells missing" | "motion not stated":
            return _unexamined(finding)
        case _:
            return _motion(finding, model)


def _unexamined(finding: Conclusion) -> str:
    """Say what could not be looked at as a confound."""
    values = finding.values
    match finding.kind:
        case "not examined":
            columns, part = values["columns"], " in full" if values["in_part"] else ""
            plural, noun = ("s", "confounds") if len(columns) > 1 else ("", "a confound")
            listed = ", ".join(f"'{column}'" for column in columns)
            return (
                f"Column{plural} {listed} could not be examined as {noun}{part}: {values['why']}."
            )
        case "names not examined":
            listed = "; ".join(f"{column} ({why})" for column, why in values["columns"].items())
            return f"Columns of names and remarks were not examined: {listed}."
        case "cells missing":
            listed = "; ".join(f"{column} ({why})" for column, why in values["columns"].items())
            return f"Some cells of covariates were taken as missing: {listed}."
        case _:
            return "Head motion could not be examined: the runs' confounds don't state it."


def _alone(column: str, values: Values, model: str) -> str:
    return (
        f"{column} alone tells the groups apart with AUC {with_interval(values, 'auc')}; "
        f"the {model} reaches {values['model_auc']:.2f}"
    )


def _follows(column: str, values: Values) -> str:
    return (
        f"depends on {column} beyond what the group explains (partial confounder test, "
        f"{say_p(values['partial_p'])})"
    )


def _motion(finding: Conclusion, model: str) -> str:
    """Say in one sentence what head motion has to do with the result."""
    values = finding.values
    score = f"score {_follows(values['follows'], values)}" if "follows" in values else ""
    heads: dict[Kind, str] = {
        "motion explains result": "Head motion explains the result",
        "motion explains part": "Head motion can explain part of the result",
        "motion differs": "Head motion differs between the groups",
    }
    left = {
        "motion explains result": "nothing is left that can be shown",
        "motion explains part": "its score still tells the groups apart",
    }
    if finding.kind not in heads:
        return f"Head motion shows in the result: the {model}'s {score}."
    parts = [_alone(finding.about, values, model)]
    if finding.kind in left:
        parts.append(
            f"among people who moved alike {left[finding.kind]} ({say_p(values['left_p'])})"
        )
    parts += [f"its {score}"] if score else []
    return f"{heads[finding.kind]}: {'; '.join(parts)}."


def _look_alikes(groups: Sequence[Values]) -> str:
    """Say who may be one person under several names."""
    named = [
        f"{', '.join(group['people'][:-1])} and {group['people'][-1]} "
        f"(r = {group['correlation']:.2f}; with anybody else at most "
        f"{group['next_correlation']:.2f})"
        for group in groups[:MOST_GROUPS]
    ]
    more = len(groups) - MOST_GROUPS
    rest = f"; and {more} more such groups, all in metrics.json" if more > 0 else ""
    n_within = sum(len(set(group["labels"])) == 1 for group in groups)
    counts = {
        "of one label, which raise the AUC": n_within,
        "across labels, which lower it": len(groups) - n_within,
    }
    counted = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
    n_named = len({name for group in groups for name in group["people"]})
    return (
        f"{n_named} people have maps as alike as those of one person under several names: "
        f"{'; '.join(named)}{rest} ({counted}). If they are, models were tested on people whom "
        "they were trained on, and neither AUC nor p-value holds: leave one of each out, or give "
        "them one value in a column 'family' of the participants table, which folds and "
        "permutations keep together."
    )


def verdict(conclusions: Iterable[Conclusion], titles: Titles) -> str:
    """Put the verdict of a study into sentences."""
    return " ".join(filter(None, (_verdict_sentence(one, titles) for one in conclusions)))


def further_verdicts(metrics: Values) -> list[str]:
    """List the verdicts on further networks, as ``metrics.json`` holds them."""
    return [one["verdict"] for one in metrics.get("further", {}).values() if "verdict" in one]


def _verdict_sentence(one: Conclusion, titles: Titles) -> str:
    values = one.values
    match one.kind:
        case "motion first":
            return "Head motion explains the result, see below."
        case "look-alikes first":
            return (
                f"None of this holds if people are in it twice: the maps of {values['n']} are as "
                "alike as those of one person under several names, see below."
            )
        case "below chance":
            who = " and the ".join(name_of(name, titles) for name in values["models"])
            is_one = len(values["models"]) == 1
            verb, interval = ("puts", "an interval") if is_one else ("put", "intervals")
            return (
                f"The {who} {verb} new people the wrong way round, with {interval} wholly below "
                "0.5: worse than guessing, and no evidence of an effect. Check whether people who "
                "belong together (relatives, matched pairs, one person twice) lie in different "
                "folds, whether the groups differ one way at one site or in one batch and the "
                "other way in another, and whether it stays with other folds (folds.seed)."
            )
        case "linear part":
            said = linear_sentence(values, values["reads"] == SERIES)
            return said if values["is_final"] else said.replace("final model's", "final network's")
        case "rival not tested":
            other = f"{name_of(one.about, titles)} ({with_interval(values, 'auc')})"
            return f"The {other} stands in the same folds; the two could not be tested."
        case "better than rival" | "worse than rival" | "no gain over rival":
            return _rival(one, titles)
        case "shortcuts first":
            models = values["models"]
            said = " and ".join(
                f"{name_of(name, titles)} {with_interval(figures, 'auc')}"
                for name, figures in models.items()
            )
            verb = "reaches" if len(models) == 1 else "reach"
            return f"Before this is read as a brain signature, know that {said} {verb} as far."
        case "warnings":
            return _warnings(values, titles)
        case "exported":
            return _exported(one, titles)
        case _:
            return _chance(one, titles)


def _reached(one: Conclusion, name: str) -> str:
    """Begin the sentence on chance with the model's AUC, and what its p-value will hold for."""
    values, reached = one.values, f"AUC {with_interval(one.values, 'auc')}"
    match values["role"]:
        case "chosen":
            head = f"{name}, which export takes by default: {reached}"
            if "auc_corrected" not in values:
                return head
            return (
                f"{head}, or {with_interval(values, 'auc_corrected')} corrected for its having "
                f"been chosen among {values['n_models']} models"
            )
        case "by itself":
            return f"{name} by itself, {ALONE}: {reached}"
        case "further" if one.kind != "chance not tested":
            return f"{name}, {ALONE}: {reached}"
        case _:
            return f"{name}: {reached}"


def _chance(one: Conclusion, titles: Titles) -> str:
    """Say what a model reaches, and whether that is above chance by its p-value."""
    values, name = one.values, name_of(one.about, titles)
    if values["role"] == "as well":
        verb = "is" if one.kind == "above chance" else "is not"
        return f"By itself, {ALONE}, the {name} {verb} above chance ({say_p(values['p'])})."
    if values["role"] == "by itself" and not values["is_permuted"]:
        # the exported model's sentence says then that nothing was tested
        return f"{capital(name)} by itself: AUC {with_interval(values, 'auc')}."
    head = _reached(one, capital(name))
    if one.kind == "chance not tested":
        asked = "permutation.n=100"
        if values["role"] == "further":
            more = "with resume=true" if values["is_permuted"] else asked
            asked = f"permutation.models=[{one.about}] {more}"
        return f"{head}; {NOT_TESTED.format(asked=asked)}."
    if one.kind == "chance not known":
        lacking = " and ".join(name_of(other, titles) for other in values["not_permuted"])
        return (
            f"{head}; whether that is above chance is not known: permutations of an earlier "
            f"version left out {lacking or 'the choice'} (permutation.n=100 with resume=true makes "
            "others)."
        )
    n, repeats = values["n"], values["n_repeats"]
    ended = " (which ended early)" if values["is_stopped"] else ""
    against = f"{n} permutations{ended}, {say_p(values['p'])}"
    if values["role"] == "chosen":
        against = f"the largest of the {values['n_models']} in each of {against}"
    where = "first repeat" if repeats == 1 else f"first {repeats} repeats"
    tested = f"{where}: AUC {values['observed']:.2f} against {against}"
    if one.kind == "too few permutations":
        return f"{head}; {n} permutations are too few to tell it from chance ({tested})."
    verb = "above" if one.kind == "above chance" else "not distinguishable from"
    return f"{head}, {verb} chance ({tested})."


def _rival(one: Conclusion, titles: Titles) -> str:
    """Say whether the network adds anything to the best linear model."""
    values = one.values
    own = name_of(values["model"], titles)
    other = f"{name_of(one.about, titles)} ({with_interval(values, 'auc')})"
    difference = f"{values['difference']:+.2f}"
    if values["ci"] is not None:
        low, high = values["ci"]
        difference += f" [{low:+.2f}, {high:+.2f}]"
    # what is rounded by itself may not add up
    aucs = f"{values['model_auc']:.3f} against {values['auc']:.3f}"
    shown = f"AUC difference {difference} ({aucs}), corrected {say_p(values['p'])}."
    if one.kind == "no gain over rival":
        return f"On these folds the {own} adds nothing to the {other} that can be shown: {shown}"
    verb = "better" if one.kind == "better than rival" else "worse"
    return f"On these folds the {own} is {verb} than the {other}: {shown}"


def _warnings(values: Values, titles: Titles) -> str:
    """Count what is said below about confounds, and name what it is about."""
    grave, notes, n_of_network = values["red"], values["amber"], values["n_of_network"]
    parts = []
    if grave["n"]:
        named = _named(grave["about"], titles)
        parts.append(f"{count(grave['n'], 'warning')} about confounds below{named}")
    if notes["n"]:
        below = "" if grave["n"] else " about confounds below"
        parts.append(f"{count(notes['n'], 'note')}{below}{_named(notes['about'], titles)}")
    said = ", ".join(parts)
    if n_of_network:
        own = f"{count(n_of_network, 'warning')} in the network's own audit"
        said = f"{said}; {own}" if said else own
    return f"{said}." if said else ""


def _named(things: Sequence[Values], titles: Titles) -> str:
    named = (about(one["kind"], one["about"], titles) for one in things)
    names = list(dict.fromkeys(filter(None, named)))
    if not names:
        return ""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f" ({', '.join(names[:MOST_NAMED])}{more})"


def count(n: int, noun: str) -> str:
    """Write a number with its noun: ``1 run``, ``2 runs``."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _exported(one: Conclusion, titles: Titles) -> str:
    """Say which final model export takes, why, and whether a better one can't be exported."""
    values = one.values
    said = f"By default export takes the {name_of(one.about, titles)}: {values['why']}."
    permitted = "so that it takes allow_uninformative=true."
    if values["reaches_chance"]:
        interval = "The corrected" if values["is_corrected"] else "Its"
        said += f" {interval} interval reaches 0.5 or less, {permitted}"
    elif not values["is_clear"]:
        said += f" Permutations don't tell it from chance, {permitted}"
    if values["better"]:
        other = capital(name_of(values["better"], titles))
        why = "is not the study's network" if values.get("is_further") else "can't be exported"
        said += f" {other} reaches more, {values['better_auc']:.3f}, but {why}."
    return said


def power_lines(power: Values, titles: Titles) -> list[str]:
    """Put what so many people can show, `fmnet.evaluation.power.study_power`, into sentences."""
    if power.get("is_paired"):
        return [PAIRED]
    lines = []
    noun = "families" if power["are_families"] else "people"
    if (accuracy := power["accuracy_above_chance"]) is not None:
        lines.append(
            f"Accuracy: on {power['n_units']} {noun} a coin reaches {accuracy:.0%} or more in 5 % "
            "of studies at most; cross-validated models get there a little more often."
        )
    least = power["auc_above_chance"]
    lines.append(
        "AUC above chance: "
        + ("none" if least is None else f"a true AUC of {least:.2f} or more")
        + " would be seen with 80 % power (an AUC of cross-validation varies about "
        f"{power['inflation']:.1f} times as widely at chance as that of a model tested on new "
        "people)."
    )
    width = power["auc_interval_width"]["0.7"]
    lines.append(f"Width: an AUC of 0.7 comes with a 95 % interval about {width:.2f} wide.")
    head = f"Against {name_of(power['rival'], titles)} (AUC {power['rival_auc']:.2f}): "
    gain, n_tests = power["difference"], power["n_comparisons"]
    corrected = f", corrected for {n_tests} comparisons," if n_tests > 1 else ""
    if gain is None:
        return [*lines, f"{head}not tested."]
    if gain > 1 - power["rival_auc"]:
        said = "no gain that there is room for could be told apart with 80 % power."
        return [*lines, head + said]
    return [
        *lines,
        f"{head}to be told apart with 80 % power{corrected} the network would have to be better by "
        f"{gain:.2f}.",
    ]


def curve_lines(curve: Values, titles: Titles) -> list[str]:
    """Put a learning curve, `fmnet.evaluation.power.learning_curve`, into sentences."""
    if not curve["points"]:
        return [TOO_FEW]
    lines, models = [], list(curve["curves"])
    for model in models:
        now = [row for row in curve["points"] if row["model"] == model][-1]
        then = [row for row in curve["ahead"] if row["model"] == model]
        said = " and ".join(f"{with_interval(r, 'auc')} with {r['n_train']:.0f}" for r in then)
        lines.append(
            f"{name_of(model, titles)}: AUC {with_interval(now, 'auc')} with "
            f"{now['n_train']:.0f} people to learn from; by extrapolation {said}."
        )
    goals = {"above_chance": "chance", "above_rival": name_of(models[-1], titles)}
    for key, n in curve["needed"].items():
        lines.append(
            f"To tell the network apart from {goals[key]} with 80 % power, the next study would "
            f"need {f'about {n}' if n else f'more than {LARGEST}'} people"
            f"{'.' if n else ', if it ever could.'}"
        )
    return lines
