"""What a study would say of a cohort whose truth is known, and how often that is false.

A `Study` holds all that was trained: the out-of-fold table and the AUCs under shuffled labels. What
is said follows from it alone, so that another version of the sentences needs no training.
"""

import gzip
import hashlib
import io
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from benchmarks.validity.people import build_cohort
from fmnet.baselines.base import Dummy
from fmnet.baselines.linear import LinearSvm, LogisticRidge, ShrinkageLda
from fmnet.baselines.shortcuts import Columns, Coverage, FileGrid, Roughness, Scale
from fmnet.crossval.final import export_choice, judge_choice
from fmnet.crossval.fold_loop import Pipeline
from fmnet.data.cohort import Cohort
from fmnet.data.files import write_atomically
from fmnet.data.participants import read_participants
from fmnet.evaluation.comparison import summarise_permutations
from fmnet.evaluation.evaluate import conclude as audit_and_conclude
from fmnet.evaluation.evaluate import evaluate
from fmnet.evaluation.metrics import add_units
from fmnet.inference.study_results import CHANCE
from fmnet.report.sentences import put_into_words
from fmnet.types import NETWORK, ModelKind

#: What sentences follow from, below the package.
SOURCES = (
    "fmnet/evaluation/*.py", "fmnet/report/sentences.py", "fmnet/crossval/final.py",
    "fmnet/training/calibration.py", "fmnet/inference/c*.py", "benchmarks/validity/*.py",
)  # fmt: skip
#: Columns of the condition itself, which are no confounds, as configs/train.yaml has them.
SYMPTOMS = ("pain_score", "fiq", "fiqr", "bdi", "stai", "pcs", "wpi", "sss")
#: The models that can be exported.
LINEAR = {
    "linear_svm": LinearSvm(),
    "logistic_ridge": LogisticRidge(),
    "shrinkage_lda": ShrinkageLda(),
}
#: The models that null studies have besides.
OTHERS = {
    "dummy": Dummy(),
    "covariates": Columns(),
    "motion": Columns(),
    "questionnaires": Columns(symptoms=True),
    "file_grid": FileGrid(),
    "coverage": Coverage(),
    "scale": Scale(),
    "roughness": Roughness(),
}
#: Sentences by what they claim, as patterns of verdict and findings.
CLAIMS = {
    "exported model above chance": r"^(?!.*by itself)[^;]*, above chance \(",
    "network above chance by itself": r"[Bb]y itself, .*( is|,) above chance \(",
    "better than a linear model": r"is better than the",
    "worse than a linear model": r"is worse than the",
    "head motion explains the result": r"^Head motion explains the result:",
    "head motion, anything": r"^Head motion (?!could not)",
    "score depends on a covariate": r"score depends on \w+ beyond",
    "a covariate reaches the network": r"^\w+ alone tells the groups apart",
    "a model without brain reaches it": r"without looking at any region of the brain",
    "know before it is read as a signature": r"Before this is read as a brain signature",
    "warnings about confounds": r"\d+ warnings? about confounds",
    "interval wholly below .5": r"wholly below 0\.5",
    "the same people twice": r"under several names",
}
#: Claims that are false of two models that are worth the same, with an effect in both.
OF_EQUALS = ("better than a linear model", "worse than a linear model")
#: Claims that need an audit of covariates.
AUDITED = (
    "head motion explains the result",
    "head motion, anything",
    "score depends on a covariate",
    "a covariate reaches the network",
    "warnings about confounds",
)
#: Claims of the state of the study, beside its sentences: of the first, early ends of permutations
#: change nothing.
EXPORTED = "corrected interval of the exported model above .5"
ALARM = "any red line"
#: Tables of a `Study`.
TABLES = ("predictions", "null", "participants")


@dataclass(frozen=True, eq=False)
class Study:
    """What a study trained, on a cohort whose truth is known.

    Parameters
    ----------
    predictions : DataFrame
        Out-of-fold table.
    null : DataFrame
        AUC of each model, one row for each permutation of the labels.
    participants : DataFrame
        Text columns.
    about : dict
        Plain values: seeds, sizes, seconds, versions.
    """

    predictions: pd.DataFrame
    null: pd.DataFrame
    participants: pd.DataFrame
    about: dict[str, Any]

    def write(self, path: Path) -> None:
        """Write one compressed file, whole or not at all."""
        texts = {
            name: getattr(self, name).to_csv(sep="\t", index=False, float_format="%.9g")
            for name in TABLES
        }
        content = json.dumps({"about": self.about} | texts)
        write_atomically(path, gzip.compress(content.encode(), mtime=0))


def read_study(path: Path) -> Study:
    """Read what `Study.write` wrote."""
    content = json.loads(gzip.decompress(path.read_bytes()))
    tables = {
        name: pd.read_csv(
            io.StringIO(content[name]), sep="\t", dtype=str if name == "participants" else None
        )
        if content[name].strip()
        else pd.DataFrame()  # no permutations
        for name in TABLES
    }
    tables["participants"] = tables["participants"].fillna("")
    return Study(**tables, about=content["about"])


def conclude(
    study: Study, cohort: Cohort | None = None, is_audited: bool = True, seed: int = 0
) -> dict[str, Any]:
    """Say about a study what `fmnet.studies.study.run_study` says, from the same functions.

    Parameters
    ----------
    study : Study
        What was trained.
    cohort : Cohort, optional
        On whom; without, people are known by their covariates alone.
    is_audited : bool
        Whether covariates are audited, which takes seconds.
    seed : int
        Of bootstrap and audit.
    """
    predictions = study.predictions
    if cohort is None:
        label_of = predictions.groupby("participant_id")["label"].first()
        labels = label_of.reindex(study.participants["participant_id"]).to_numpy(np.int64)
        cohort = build_cohort(labels, study.participants)
    named = add_units(predictions, cohort.unit_of)
    described: dict[str, tuple[ModelKind, str]] = {NETWORK: ("closed form", "network")}
    described |= {name: one.describe(name) for name, one in (LINEAR | OTHERS).items()}
    names = list(map(str, predictions["model"].unique()))
    metrics = evaluate(named, NETWORK, {name: described[name][0] for name in names}, seed=seed)
    models = metrics["models"]
    metrics["titles"] = {name: described[name][1] for name in names}
    linear = {name: one for name, one in LINEAR.items() if name in models}
    # what can be exported is asked of the baselines, and nothing else of these two
    pipeline: Any = Pipeline(None, linear, lambda _: [], seed)  # type: ignore[arg-type]
    data: Any = SimpleNamespace(target=None)
    metrics["exported"] = export_choice(pipeline, data, named, models, metrics["titles"])
    if len(study.null):
        metrics["permutation"] = summarise_permutations(study.null, predictions, 1)
    judge_choice(metrics)
    people = read_participants(cohort) if is_audited else None
    concluded = audit_and_conclude(metrics, predictions, people, SYMPTOMS, seed)
    put_into_words(metrics, concluded)
    return metrics


@cache
def code_digest() -> str:
    """Name the code that figures and sentences come from: what another version said is no use."""
    root = Path(__file__).parents[2]
    files = sorted(path for pattern in SOURCES for path in root.glob(pattern))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def sentences(metrics: dict[str, Any]) -> list[str]:
    """List what a study says: the sentences of its verdict, and its findings."""
    # a full stop ends a sentence where a capital follows
    verdict_parts = re.split(r"(?<=[.)])\s+(?=[A-Z])", metrics["verdict"])
    return [*verdict_parts, *(one["text"] for one in metrics["findings"])]


def shape(sentence: str) -> str:
    """Write a sentence without its numbers, so that those of many studies can be counted."""
    return re.sub(r"[-+]?\d+(\.\d+)?%?", "#", sentence)


def claims(metrics: dict[str, Any], is_audited: bool = True) -> dict[str, bool]:
    """Say which claims a study makes; those of the audit are left out where there was none."""
    said = sentences(metrics)
    found = {
        name: any(re.search(pattern, one) for one in said)
        for name, pattern in CLAIMS.items()
        if is_audited or name not in AUDITED
    }
    found[EXPORTED] = metrics["exported"]["auc_corrected_ci"][0] > CHANCE
    if is_audited:
        found[ALARM] = any(one["severity"] == "red" for one in metrics["findings"])
    return found


def rates(said: pd.DataFrame) -> pd.DataFrame:
    """Count how often each claim was made, with exact binomial intervals.

    Parameters
    ----------
    said : DataFrame
        ``kind``, which kind of study it was; ``claim``; ``is_made``, one row for each study.
    """
    rows = []
    for (kind, claim), own in said.groupby(["kind", "claim"], sort=False):
        rows.append({"kind": kind, "claim": claim} | rate(int(own["is_made"].sum()), len(own)))
    return pd.DataFrame(rows)


def rate(times: int, n: int) -> dict[str, Any]:
    """State how often something happened, with the exact binomial interval."""
    low, high = binomtest(times, n).proportion_ci()
    counted = {"n_cohorts": n, "times": times, "share": times / n}
    return counted | {"low": float(low), "high": float(high)}


def figures(metrics: dict[str, Any]) -> dict[str, float]:
    """Pick the numbers of a study whose distribution on null cohorts is of interest."""
    exported = metrics["exported"]
    tested = metrics.get("permutation", {})
    found = {
        "auc_exported": metrics["models"][exported["model"]]["auc"],
        "auc_corrected": exported.get("auc_corrected", np.nan),
        "is_network": float(exported["model"] == NETWORK),
        "p_chosen": tested.get("chosen", {}).get("p", np.nan),
    }
    for name, model in metrics["models"].items():
        found[f"auc/{name}"] = model["auc"]
    for name, one in tested.get("models", {}).items():
        found[f"p/{name}"] = one["p"]
    return {name: float(value) for name, value in found.items()}
