import json

import numpy as np
import pandas as pd
import pytest
import torch

from fmnet.data.outcomes import Outcomes
from fmnet.errors import ConfigError
from fmnet.inference.links import link_from_json
from fmnet.targets.change import Change
from fmnet.targets.classes import Classes
from fmnet.targets.contrast import Contrast
from fmnet.targets.onset import Onset
from fmnet.targets.ordinal import Ordinal
from fmnet.targets.response import Response
from fmnet.targets.several import Several, skill
from fmnet.targets.severity import Severity

GROUP = np.repeat(["FM", "OA", "HC"], (12, 11, 10))
PAIN = np.where(GROUP == "HC", "", [f"{20 + n}" for n in range(33)])
NAMES = [f"sub-{n:02}" for n in range(33)]
TARGET = Several(
    targets={
        "fm": Contrast("FM", "HC"),
        "oa": Contrast("OA", "HC"),
        "pain": Severity(column="pain", among={"group": ["FM", "OA"]}),
    }
)


def read(target=TARGET, **columns):
    texts = pd.DataFrame({"participant_id": NAMES, "scan_id": NAMES, "group": GROUP, "pain": PAIN})
    target, values, faults = target.read(texts.assign(**columns))
    assert not faults
    return target, Outcomes(values, tuple(NAMES), tuple(NAMES), ("",) * 33)


def rows_of(outcomes, scores, outputs):
    table = {"participant_id": NAMES, "unit": NAMES, "scan_id": NAMES, "repeat": 0}
    table |= {"site": "", "fold": np.arange(33) % 3}
    table |= {f"outcome_{role}": own for role, own in outcomes.values.items()}
    names = TARGET.score_names
    return pd.DataFrame(
        table | {f"score_{n}": s for n, s in zip(names, scores.T, strict=True)} | outputs
    )


def test_each_is_known_of_its_own_people():
    target, outcomes = read()
    assert [int(target.known_for(name, outcomes).sum()) for name in target.targets] == [22, 21, 23]
    assert target.is_known(outcomes).all()
    assert target.columns["pain.among.group"] == "group"
    lacking = outcomes.replace(**{role: outcomes[role] * np.nan for role in outcomes.values})
    assert not target.is_known(lacking).any()
    assert target.summary(outcomes).startswith("33 people; fm: 12 FM against 10 HC; oa: 11 OA")


def test_strata_tell_all_apart_unless_they_get_small():
    target, outcomes = read()
    strata = np.array(target.strata(outcomes))
    assert set(strata[GROUP == "HC"]) == {"HC HC n/a"}
    assert {one.split()[0] for one in strata[GROUP == "FM"]} == {"FM"}
    counts = np.unique(strata, return_counts=True)[1]
    assert counts.min() >= 6


def test_nothing_of_a_task_is_learned_from_those_it_is_not_known_of():
    target, outcomes = read()
    train = np.arange(0, 33, 2)
    null = target.fit_null(outcomes, train)
    known = target.known_for("oa", outcomes)
    own = target.outcomes_for("oa", outcomes).take(known)
    of_train = np.flatnonzero(np.isin(np.flatnonzero(known), train))
    alone = target.targets["oa"].fit_null(own, of_train)
    np.testing.assert_array_equal(null.responses[known, 1], alone.responses[:, 0])
    assert np.isnan(null.responses[~known, 1]).all()


def test_tasks_count_alike_in_the_loss_whoever_is_known():
    target, outcomes = read()
    train = np.arange(33)
    losses = torch.from_numpy(target.fit_null(outcomes, train).losses)
    head, outputs = target.head(), torch.randn(33, 3, requires_grad=True)
    total = head.loss(outputs, losses, head.balance(losses)).mean()
    expected = []
    for number, (name, one) in enumerate(target.targets.items()):
        known = np.flatnonzero(target.known_for(name, outcomes))
        own = target.outcomes_for(name, outcomes).take(known)
        targets = torch.from_numpy(one.fit_null(own, np.arange(len(known))).losses)
        alone = one.head()
        some = alone.loss(outputs[known][:, [number]], targets, alone.balance(targets))
        expected.append(float(some.mean()))
    assert float(total) == pytest.approx(np.mean(expected), rel=1e-5)
    total.backward()
    assert torch.isfinite(outputs.grad).all()
    assert (outputs.grad[GROUP == "OA", 0] == 0).all()
    assert (outputs.grad[GROUP == "HC", 2] == 0).all()


def test_figures_are_those_of_each_task_and_their_mean_skill(rng):
    target, outcomes = read()
    scores = rng.normal(size=(33, 3))
    scores[GROUP == "FM", 0] += 3
    link = target.fit_link(scores, outcomes)
    again = link_from_json(json.loads(json.dumps(link.to_json())))
    outputs = again.outputs(scores)
    assert list(outputs) == [one.name for one in target.meanings]
    rows = rows_of(outcomes, scores, outputs)
    found = target.figures(rows)
    fm = rows[GROUP != "OA"]
    alone = pd.DataFrame({"outcome_group": fm["outcome_fm.group"], "score": fm["score_fm"]})
    alone = alone.assign(repeat=0, fold=fm["fold"], p_FM=fm["fm_p_FM"])
    assert found["fm_auc"] == target.targets["fm"].figures(alone)["auc"]
    skills = [2 * found["fm_auc"] - 1, 2 * found["oa_auc"] - 1, found["pain_r2"]]
    assert found["mean_skill"] == pytest.approx(np.mean(skills))
    assert skill(target.targets["fm"].primary, 0.75) == pytest.approx(0.5)
    details = target.details(rows)
    assert details["n_known"] == {"fm": 22, "oa": 21, "pain": 23}
    assert np.shape(details["score_correlations"]) == (3, 3)
    fold = np.arange(33) % 3
    better = scores + 5 * np.nan_to_num(outcomes["oa.group"])[:, None] * [0, 1, 0]
    assert target.statistic(better, outcomes, fold) > target.statistic(scores, outcomes, fold)


def test_gains_and_losses_are_said():
    target, _ = read()
    figures = {"mean_skill": 0.4, "mean_skill_ci": [0.2, 0.6]}
    facts = {"studied": "network", "models": {"network": figures}, "kinds": {}}
    row = {"task": "fm", "figure": "AUC", "gain": -0.1, "ci": [-0.15, -0.05], "p_holm": 0.01}
    facts["several"] = {"gains": [row], "transfer": None}
    said = target.verdict(facts)[-1]
    assert said.severity == "amber"
    assert said.text.startswith("fm loses by being learned together with the others: AUC -0.100")
    row |= {"p_holm": 0.2}
    assert "neither gains nor loses" in target.verdict(facts)[-1].text


def test_targets_that_do_not_go_together_are_refused():
    with pytest.raises(ConfigError, match="1 of them; accepted: two or more"):
        Several(targets={"fm": Contrast("FM", "HC")})
    response = Response(outcome="y", arm="arm")
    with pytest.raises(ConfigError, match=r"target\.targets.drug: found target=response"):
        Several(targets={"fm": Contrast("FM", "HC"), "drug": response})
    with pytest.raises(ConfigError, match=r"target\.targets.later: found target=change"):
        Several(targets={"fm": Contrast("FM", "HC"), "later": Change()})
    with pytest.raises(ConfigError, match="'f m'; accepted: letters"):
        Several(targets={"f m": Contrast("FM", "HC"), "oa": Contrast("OA", "HC")})


def test_every_kind_of_target_can_be_one_of_several(rng):
    columns = {
        "level": np.where(GROUP == "OA", "", np.tile(["low", "mid", "high"], 11)),
        "time": np.where(GROUP == "FM", "", [f"{n / 10 + 0.1:.1f}" for n in range(33)]),
        "event": np.tile(["1", "0", "1"], 11),
    }
    target, outcomes = read(
        Several(
            targets={
                "group": Classes(),
                "level": Ordinal(column="level", levels=["low", "mid", "high"]),
                "onset": Onset(times=[1.0, 2.0]),
                "steps": Onset(times=[1.0, 2.0], loss="discrete", n_intervals=2),
            }
        ),
        **columns,
    )
    train = np.arange(1, 33)
    null = target.fit_null(outcomes, train)
    assert null.responses.shape == (33, target.n_scores) == (33, 6)
    head, losses = target.head(), torch.from_numpy(null.losses)
    outputs = torch.randn(33, head.n_outputs, requires_grad=True)
    every = head.loss(outputs, losses, head.balance(losses))
    assert every.shape == (33,)
    every.mean().backward()
    assert torch.isfinite(outputs.grad).all()
    scores = head(outputs.detach())
    assert scores.shape == (33, 6)
    for name, metric in head.metrics().items():
        metric.update(scores, losses)
        assert torch.isfinite(metric.compute()), name
    stacked = torch.stack([outputs, outputs]), torch.stack([losses, losses])
    np.testing.assert_allclose(
        head.loss(*stacked, torch.ones(2, 1)).detach(),
        torch.stack([every, every]).detach(),
        rtol=1e-4,
    )
    found = target.fit_link(scores.numpy().astype(float), outcomes).outputs(scores.numpy())
    assert list(found) == [one.name for one in target.meanings]
