"""Finished runs of made-up scores, written in milliseconds as a study would leave them."""

import json

import numpy as np
import pandas as pd
import yaml

from fmnet.evaluation.metrics import model_metrics
from fmnet.runs.run_folder import write_run_files

#: Of a study of two groups, as far as runs are compared by them.
SETTINGS = {
    "cohort": {"_target_": "fmnet.data.bids.read_bids", "root": "/home/someone/derivatives"},
    "network": {
        "_target_": "fmnet.networks.backbones.build_small_cnn",
        "_partial_": True,
        "channels": [4, 6],
    },
    "trainer": {"_target_": "pytorch_lightning.Trainer", "max_epochs": 8},
    "baselines": {"linear_svm": {"_target_": "fmnet.baselines.linear.LinearSvm", "c": [0.1, 1.0]}},
    "run_dir": "outputs/mine",
    "seed": 0,
}
KINDS = {"network": "gradient", "linear_svm": "linear", "scale": "shortcut"}
TITLES = {"network": "small CNN", "linear_svm": "linear SVM", "scale": "image scale only"}


def predictions(effects, people=0, n=26, luck=0):
    """Scores of models whose effects are in units of their noise, the same noise for all."""
    rng = np.random.default_rng([people, 7])
    folds = rng.permutation(np.arange(n) % 3)
    names = [f"sub-{number:02d}" for number in range(n)]
    tables = []
    for model, effect in effects.items():
        label = np.arange(n) % 2
        noise = np.random.default_rng([people, luck, len(model)]).normal(size=n)
        score = effect * label + noise
        tables.append(
            pd.DataFrame(
                {
                    "participant_id": names, "scan_id": names, "repeat": 0, "fold": folds,
                    "model": model, "label": label, "score": score,
                    "probability": 1 / (1 + np.exp(-score)),
                }
            )
        )  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def write_run(folder, effects=None, people=0, luck=0, settings=None, facts=None, n=26):
    """Write a run; `people` and `luck` are seeds, `settings` and `facts` replace those keys."""
    table = predictions(
        effects or {"network": 1.5, "linear_svm": 1.0, "scale": 0.0}, people, n, luck
    )
    models = {name: model_metrics(own, n_draws=40) for name, own in table.groupby("model")}
    order = list(dict.fromkeys(table["model"]))
    metrics = {
        "n_subjects": n,
        "n_scans": n,
        "models": {name: models[name] for name in order},
        "studied": "network",
        "kinds": {name: KINDS[name] for name in order},
        "titles": TITLES,
        "exported": {
            "model": "network", "among": ["network", "linear_svm"],
            "auc_corrected": 0.7, "auc_corrected_ci": [0.6, 0.8], "p": 0.03,
        },
        "findings": [
            {"severity": "red", "text": "<b>Motion</b> alone reaches as far."},
            {"severity": "amber", "text": "Sites differ."},
        ],
        "verdict": "Small CNN: AUC as it is.",
        **(facts or {}),
    }  # fmt: skip
    ages = np.random.default_rng(people).integers(20, 60, n)
    everybody = pd.DataFrame({"participant_id": sorted(set(table["participant_id"])), "age": ages})
    record = {"versions": {"fmnet": "0.2.0"}, "started": "2026-11-30T02:30:00+00:00"}
    record |= {"code_sha256": "c0de", "data_sha256": f"da7a{people}", "device": "CPU"}
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "config.yaml": yaml.safe_dump({**SETTINGS, "run_dir": str(folder), **(settings or {})}),
        "manifest.json": json.dumps(record),
        "participants.tsv": everybody.to_csv(sep="\t", index=False),
        "predictions.tsv": table.to_csv(sep="\t", index=False),
        "report.html": "<p>report</p>",
        "metrics.json": json.dumps(metrics),
    }
    write_run_files(folder, contents)
    return folder
