"""A page on one scan, whatever became of it, and one on all scans of a call.

Each is one HTML file that loads nothing from elsewhere and runs no script.
"""

import os
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache, partial
from urllib.parse import quote

import numpy as np

from fmnet.data.volume import FloatArray
from fmnet.errors import FmnetError, printable
from fmnet.inference.bundle import Bundle
from fmnet.inference.card_answers import (
    StudyScores,
    answer,
    answer_word,
    place,
    probability,
    set_words,
    study_scores,
    worth,
)
from fmnet.inference.card_charts import draw_scores, number
from fmnet.inference.card_sections import (
    checks,
    marks,
    output_names,
    output_words,
    outputs,
    pictures,
)
from fmnet.inference.card_shell import (
    build_page,
    capital,
    chance,
    group_names,
    items,
    known_lines,
    origin_line,
    safe,
    short_name,
    span,
)
from fmnet.inference.explain import Explainer, Explanation, read_explainer
from fmnet.inference.explanation_card import explanation_sections
from fmnet.inference.model_card import percent
from fmnet.inference.predict import USUAL, Prediction, Request, Status
from fmnet.inference.results import base_rate
from fmnet.inference.study_results import red_note

#: Red findings that are told one by one, and columns of a target in the table of everybody.
N_FINDINGS, N_COLUMNS = 5, 6
#: Most characters of a reason in the table of everybody; cards have all of it.
MAX_REASON = 200
RESEARCH = (
    "Research use only. This page says how a model scored a brain scan. It is no diagnosis, no "
    "finding about a person, and no ground for any decision about their care."
)
STATUS: dict[Status, str] = {
    "ok": "scored", "cannot_say": "no answer", "error": "not usable", "forced": "forced",
}  # fmt: skip


def build_scan_card(
    bundle: Bundle,
    prediction: Prediction,
    values: FloatArray | None,
    request: Request = USUAL,
    explanation: Explanation | None = None,
) -> str:
    """Write the page on one scan, whatever became of it.

    Where the signature is stable, it says what raised and what lowered the score too.

    Parameters
    ----------
    bundle : Bundle
        By which it was scored.
    prediction : Prediction
        What is said of it, of any status.
    values : ndarray of float32, shape (C, V) or (T, V), or None
        Its maps or its series on the bundle's grid; None where it could not be read.
    request : Request
        What was asked for.
    explanation : Explanation, optional
        One that was made already, or forced.
    """
    unexplained = ""
    if explanation is None:
        explanation, unexplained = _explain(bundle, prediction, values)
    name = short_name(prediction.scan)
    study = study_scores(bundle, request, explanation.people if explanation else None)
    is_scored, gates = prediction.score is not None, bundle.gates
    parts = [f"<h1>{safe(name)}</h1>", f'<p class="use">{RESEARCH}</p>', marks(prediction)]
    if is_scored and bundle.target is None:
        parts += [
            answer(bundle, prediction, study),
            _known(bundle, prediction, request),
            place(bundle, prediction, study),
            probability(bundle, prediction, request),
            worth(bundle, request),
        ]
    elif is_scored:
        parts += [outputs(bundle, prediction), _known(bundle, prediction, request)]
    parts += [
        pictures(bundle, values),
        checks(prediction.readings, gates),
    ]
    if explanation is not None:
        parts += explanation_sections(bundle, explanation)
    elif unexplained and is_scored:
        parts.append(f"<h2>What raised and what lowered the score</h2><p>{safe(unexplained)}</p>")
    parts += ["" if is_scored else _known(bundle, prediction, request)]
    use = safe(bundle.metadata["intended_use"])
    parts.append(f"<h2>What this is not</h2><p>{use}</p>")
    parts.append(
        f'<p class="small">Scan: {safe(prediction.scan)}<br>{safe(origin_line(bundle))}</p>'
    )
    return build_page(name, parts)


def _explain(
    bundle: Bundle, prediction: Prediction, values: FloatArray | None
) -> tuple[Explanation | None, str]:
    """Explain a score, or say in a sentence why not."""
    if prediction.score is None or values is None:
        return None, ""
    if prediction.status == "forced":
        return None, "A score that was forced is not explained: its parts mean no more than it."
    found = _explainer(bundle)
    return (None, found) if isinstance(found, str) else (found.explain(prediction, values), "")


@lru_cache(maxsize=1)
def _explainer(bundle: Bundle) -> Explainer | str:
    """Read what explains the scores of a bundle, once for all of its scans."""
    try:
        return read_explainer(bundle)
    except FmnetError as error:
        found = "; ".join(printable(fault.found) for fault in error.faults)
        return f"It can't be said which regions moved this score: {found}."


def _known(bundle: Bundle, prediction: Prediction, request: Request) -> str:
    """Give what is known of the signature, its red findings, and remarks on this scan."""
    red = [] if bundle.evidence is None else bundle.evidence.red or []
    more = f"and {len(red) - N_FINDINGS} more" if len(red) > N_FINDINGS else ""
    findings = items([*red[:N_FINDINGS], more])
    said = f"<p>Red findings of its study:</p>{findings}" if red else ""
    own = _remarks(bundle, prediction)
    remark = f"<p>Of this scan: {safe(capital('; '.join(own)))}.</p>" if own else ""
    return f'<div class="box">{items(known_lines(bundle, request))}{said}{remark}</div>'


def _remarks(bundle: Bundle, prediction: Prediction) -> list[str]:
    """List what is remarked on a score, without what is true of all scores of the signature."""
    if prediction.status != "ok":
        return []
    told = {*bundle.warnings, red_note(bundle.evidence), ""}
    return [line for line in prediction.reason.split(" | ") if line not in told]


def build_group_page(
    bundle: Bundle,
    predictions: Sequence[Prediction],
    request: Request = USUAL,
    cards: Sequence[str] = (),
) -> str:
    """Write the page on all scans: how many got which answer, where they lie, and a table.

    `cards` are the files of their cards, beside this page, in the same order; empty where a scan
    has none.
    """
    study = study_scores(bundle, request)
    counts = Counter(prediction.status for prediction in predictions)
    told = ", ".join(
        f"{counts[status]} {words}" for status, words in STATUS.items() if counts[status]
    )
    n = len(predictions)
    title = f"{n} scan{'' if n == 1 else 's'}: {told or 'none'}"
    links = [*cards, *[""] * (n - len(cards))]
    labels = _labels([short_name(one.scan) for one in predictions])
    rows = "".join(map(partial(_row, bundle), predictions, labels, links))
    parts = [
        f"<h1>{safe(title)}</h1>",
        f'<p class="use">{RESEARCH}</p>',
        f'<div class="box">{items(known_lines(bundle, request))}</div>',
        _sets(bundle, predictions, study),
        _strip(bundle, predictions, study),
        f"<h2>Every scan</h2>{_rate(bundle, request)}",
        f'<div class="wide"><table><thead>{_head(bundle)}</thead>',
        f"<tbody>{rows}</tbody></table></div>",
        f"<h2>What this is not</h2><p>{safe(bundle.metadata['intended_use'])}</p>",
        f'<p class="small">{safe(origin_line(bundle))}</p>',
    ]
    return build_page(title, parts)


def _sets(bundle: Bundle, predictions: Sequence[Prediction], study: StudyScores | None) -> str:
    """Count the sets, of scans that were not forced, and say how often such sets are wrong."""
    held = [one.groups for one in predictions if one.groups is not None and one.status == "ok"]
    if not held or bundle.target is not None:
        return ""
    names = group_names(bundle)
    every = [(name,) for name in names] + [names, ()]
    lines = [
        f"{sum(set(own) == set(groups) for own in held)} of {len(held)}: {set_words(groups, names)}"
        for groups in every
    ]
    level = "" if study is None else f'<p class="small">{safe(study.level_words)}</p>'
    return f"<h2>Answers</h2>{items(lines)}{level}"


def _strip(bundle: Bundle, predictions: Sequence[Prediction], study: StudyScores | None) -> str:
    scores = [one.score for one in predictions if one.score is not None and one.status == "ok"]
    if bundle.target is not None or study is None or not scores:
        return ""
    names = group_names(bundle)
    groups = [*zip(names, (study.positive, study.negative), strict=True)]
    groups.append(("new scans", np.array(scores, dtype=float)))
    return (
        "<h2>Among the study's people</h2>"
        f"{draw_scores(groups, None, study.zones, is_last_new=True)}"
        '<p class="small">Dots: people of the study, by models that had not seen them. Rings: the '
        "scans of this page, without those that were forced.</p>"
    )


def _rate(bundle: Bundle, request: Request) -> str:
    """Say for which base rate the probabilities of the table are."""
    if (rate := base_rate(bundle, request)) is None:
        return ""
    group = group_names(bundle)[0]
    said = f"Probabilities are for {percent(rate)} {group} among those who are scanned"
    is_stated = request.prevalence is not None
    more = "" if is_stated else ", which nobody stated; say it with --prevalence"
    return f"<p>{safe(said + more)}.</p>"


def _head(bundle: Bundle) -> str:
    own = [f'<th class="number">{safe(name)}</th>' for name in output_names(bundle)[:N_COLUMNS]]
    if bundle.target is None:
        group = safe(group_names(bundle)[0])
        own = ["<th>Groups left possible</th>", f'<th class="number">Probability of {group}</th>']
        own.append('<th class="number place">Score</th>')
    return f"<tr><th>Scan</th><th>Status</th>{''.join(own)}<th>Checks failed, remarks</th></tr>"


def _labels(names: Sequence[str]) -> list[str]:
    """Leave out of names what most of them have in common, as long as they stay different.

    An entity of several values (``ses-01``, ``ses-02``) stays with all: no value goes unsaid.
    """
    parts = [name.split("_") for name in names]
    counts = Counter(part for own in parts for part in set(own))
    values = Counter(part.split("-")[0] for part in counts)
    left_out = {part for part in counts if counts[part] > len(names) / 2}
    left_out -= {part for part in left_out if values[part.split("-")[0]] > 1}
    short = ["_".join(part for part in own if part not in left_out) for own in parts]
    return short if all(short) and len(set(short)) == len(set(names)) else list(names)


def _row(bundle: Bundle, prediction: Prediction, label: str, card: str) -> str:
    name = safe(label)
    link = f'<a href="{quote(os.fsencode(card))}">{name}</a>' if card else name
    shown = output_names(bundle)[:N_COLUMNS]
    own = [_cell(output_words(prediction, column)) for column in shown]
    if bundle.target is None:
        held = prediction.groups
        words = "" if held is None else answer_word(held)
        p = "" if prediction.probability is None else chance(prediction.probability)
        p = p if prediction.interval is None else span(*prediction.interval)
        p = "none" if held == () else p
        score = "" if prediction.score is None else number(prediction.score, ".2g")
        own = [f"<td>{safe(words)}</td>", _cell(p), _cell(score, " place")]
    failed = [reading.gate for reading in prediction.readings if not reading.is_passed]
    said = ["was in training"] if prediction.is_of_training else []
    said += [", ".join(failed)] if failed else _remarks(bundle, prediction)
    if not failed and prediction.status != "ok":
        is_long = len(prediction.reason) > MAX_REASON
        said.append(f"{prediction.reason[:MAX_REASON]}{'…' if is_long else ''}")
    status = safe(STATUS[prediction.status])
    remarks = safe("; ".join(said))
    return (
        f"<tr><td>{link}</td><td>{status}</td>{''.join(own)}<td><small>{remarks}</small></td></tr>"
    )


def _cell(words: str, more: str = "") -> str:
    return f'<td class="number{more}">{safe(words)}</td>'
