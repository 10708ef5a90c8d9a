"""What is drawn of each kind of target, from what the targets themselves tell."""

import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure
from outcome_tables import out_of_fold, outcomes_with

from fmnet.evaluation.outcome_study import plain_values
from fmnet.evaluation.retest import retest_of_scores
from fmnet.report.target_figures import PANELS, draw_panel, draw_target_overview, panels_of
from fmnet.targets.change import Change
from fmnet.targets.classes import Classes
from fmnet.targets.improvement import Improvement
from fmnet.targets.onset import Onset
from fmnet.targets.ordinal import Ordinal
from fmnet.targets.response import Response
from fmnet.targets.severity import Severity

N = 48
TRANSFER = {
    "tasks": ["FM", "OA"],
    "cells": [
        {"trained": one, "tested": other, "auc": 0.8 - 0.2 * (one != other), "ci": [0.5, None]}
        for one in ("FM", "OA")
        for other in ("FM", "OA")
    ],
}
GAINS = [{"task": "FM", "figure": "AUC", "gain": None, "ci": None}]


def truth(kind, rng):
    """A target, its outcomes, and scores that know something, (N, K)."""
    z, noise = rng.normal(size=(2, N))
    half = np.arange(N) % 2
    match kind:
        case "severity":
            values = outcomes_with(value=50 + 10 * z + 8 * noise)
            return Severity("fiqr", unit="FIQ-R points"), values, z[:, None]
        case "improvement":
            values = outcomes_with(outcome=50 - 6 * z + noise, baseline=50 + 9 * noise)
            return Improvement("end", baseline="start"), values, z[:, None]
        case "ordinal":
            levels = np.digitize(z + 0.5 * noise, [-0.5, 0.5])
            return (
                Ordinal("sss", levels=["low", "some", "high"]),
                outcomes_with(level=levels),
                z[:, None],
            )
        case "classes":
            group, scores = np.arange(N) % 3, rng.normal(size=(N, 3))
            scores[np.arange(N), group] += 1
            target = Classes("group", groups={"FM": ["FM"], "OA": ["OA"], "HC": ["HC"]})
            return target, outcomes_with(group=group), scores
        case "onset":
            time = rng.exponential(6 * np.exp(-0.7 * z)) + 0.01
            end = rng.uniform(1, 9, size=N)
            values = outcomes_with(time=np.minimum(time, end), event=time <= end)
            return Onset(times=(2.0, 5.0)), values, z[:, None]
        case "response":
            values = outcomes_with(outcome=50 - half * (3 + 5 * z) + 5 * noise, arm=half)
            target = Response(arms=["placebo", "drug"], outcome="pain", baseline=None)
            return target, values, z[:, None]
        case "change":
            return Change(), outcomes_with(2, after=half), (0.5 * half + noise)[:, None]


def facts_of(kind, knows=True):
    """What a study would hold of one model, and its rows."""
    target, outcomes, scores = truth(kind, np.random.default_rng(0))
    rows = out_of_fold(target, outcomes, scores[None] * knows, np.random.default_rng(1), 4)
    rows = rows.assign(site="", model="network")
    figures = plain_values(dict(target.figures(rows)))
    facts = {
        "target": target.describe(), "titles": {"network": "prior CNN"},
        "models": {"network": figures}, "exported": {"model": "network"},
        "details": {"network": plain_values(target.details(rows))},
    }  # fmt: skip
    return facts, rows


#: What is drawn first of each kind, and what its text says.
FIRST = {
    "severity": ("predicted_and_known", "in FIQ-R points of 48 scans"),
    "improvement": ("predicted_and_known", "of 48 scans"),
    "ordinal": ("calls", "called some"),
    "classes": ("calls", "of 16 scans of FM"),
    "onset": ("survival_by_thirds", "highest third"),
    "response": ("effect_by_thirds", "lowest third: placebo"),
    "change": ("changes", "of 24 people"),
}


@pytest.mark.parametrize("knows", [True, False], ids=["knows something", "knows nothing"])
@pytest.mark.parametrize("kind", FIRST)
def test_every_kind_is_drawn_with_words(kind, knows):
    facts, rows = facts_of(kind, knows)
    panels = panels_of(facts, "network", rows)
    if knows:
        name, said = FIRST[kind]
        assert panels[0].name == name
        assert said in panels[0].alt
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a figure that fails is a warning
        pictures = [draw_panel(panel) for panel in panels]
        overview = draw_target_overview(facts, panels[:1], "SYNTHETIC DATA")
    assert len({picture.name for picture in pictures}) == len(pictures)
    assert not [picture.alt for picture in pictures if "nan" in picture.alt.split()]
    assert overview.image.startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", ["severity", "ordinal", "onset"])
def test_calibration_is_drawn_with_intervals(kind):
    facts, rows = facts_of(kind)
    panels = [one for one in panels_of(facts, "network", rows) if "calibration" in one.name]
    for panel in panels:
        axes = Figure().subplots()
        panel.draw(axes)
        low, high = axes.collections[0].get_segments()[0][:, 1]
        assert low < high
    assert panels


def test_every_kind_that_is_drawn_is_tested():
    assert {*PANELS, "onset"} == set(FIRST)


def test_gains_and_transfer_of_several_stand_first():
    facts, rows = facts_of("severity")
    own = facts["target"] | {"kind": "severity"}
    facts |= {
        "target": own | {"kind": "several", "targets": {"pain": own}},
        "details": {"network": {"targets": {"pain": facts["details"]["network"]}}},
        "several": {"transfer": TRANSFER, "gains": GAINS},
    }
    panels = panels_of(facts, "network", rows)
    assert [panel.name for panel in panels] == [
        "transfer", "gains", "pain_predicted_and_known", "pain_calibration",
    ]  # fmt: skip
    assert "learned for FM, tested on OA: 0.60" in panels[0].alt
    assert "FM, AUC not told" in panels[1].alt
    assert all(draw_panel(panel).image for panel in panels)


def test_retest_is_drawn_with_limits_of_agreement():
    facts, rows = facts_of("change")
    facts["retest"] = {"scores": {"network": plain_values(retest_of_scores(rows))}}
    panels = {panel.name: panel for panel in panels_of(facts, "network", rows)}
    assert "95 % limits of agreement" in panels["two_sessions"].alt
    assert "ICC(2,1)" in panels["icc"].alt
    assert draw_panel(panels["two_sessions"]).image


def test_model_without_details_has_no_panels():
    facts, rows = facts_of("severity")
    assert panels_of(facts | {"details": {}}, "network", rows) == []
