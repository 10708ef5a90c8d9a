"""Whole studies of cohorts without an effect, of made-up features and of made-up maps."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.power.describe import describe, digest
from benchmarks.validity.measures import (
    ALPHA,
    CANDIDATES,
    Cell,
    Measure,
    mean_of,
    train_sizes,
)
from benchmarks.validity.people import (
    People,
    build_cohort,
    draw_cohort,
    fit,
    split_rows,
    strength_for,
)
from benchmarks.validity.sentences import (
    OF_EQUALS,
    Study,
    claims,
    code_digest,
    conclude,
    figures,
    rate,
    rates,
    read_study,
    sentences,
    shape,
)
from fmnet.baselines.base import Baseline
from fmnet.crossval.exchange import permute_labels
from fmnet.crossval.fold_loop import Pipeline, crossvalidate
from fmnet.crossval.permutation import run_permutations_together
from fmnet.crossval.workers import map_units
from fmnet.data.cohort import Cohort, open_cohort
from fmnet.data.files import write_atomically
from fmnet.data.folds import build_folds
from fmnet.data.scans import MapsOnGrid
from fmnet.data.store import ArrayStore
from fmnet.data.tables import write_table
from fmnet.data.template import build_grid
from fmnet.evaluation.comparison import study_aucs
from fmnet.inference.preparation import PreparationSettings
from fmnet.networks.backbones import NetworkBuilder
from fmnet.runs.record import versions
from fmnet.synthetic.maps import read_synthetic
from fmnet.training.compute import Compute, count_processes
from fmnet.training.fit import Trainable
from fmnet.training.scan_set import ScanSet, read_scans
from fmnet.training.trainer import CPU_TRAINER, build_trainer
from fmnet.types import NETWORK, Count, Fraction, Jobs, NonNegativeCount, Several, VoxelSize

#: Of studies of made-up features: models that see no brain, by how many columns of noise each sees.
SHORTCUTS = {"covariates": 3, "roughness": 1}
#: Raise it when the same settings would train something else.
NULL_FORMAT = 2
#: Permutations after which it is asked whether any more can change a verdict.
FIRST = 6


@dataclass(frozen=True)
class Sentences(Measure):
    """How often a study of made-up features says what isn't so.

    Four linear models stand for network, SVM, ridge and LDA. Without an effect they see different
    features or have different penalties. With one, network and SVM see one half of the features
    each, so that they are worth the same.

    Parameters
    ----------
    n_cohorts : int
        In each cell.
    n : int
        People, half of them positive.
    aucs : list of float
        .5 for no effect; of the two equal models.
    n_permutations : int
        Of the labels, in each study.
    n_audited : int
        Studies without an effect whose covariates are audited, which takes seconds each.
    """

    n_cohorts: Count = 200
    n: Several = 40
    aucs: Sequence[Fraction] = (0.5, 0.75)
    n_permutations: Count = 20
    n_audited: NonNegativeCount = 20

    names = ("auc",)
    title = "What a study says that isn't so, on made-up features"

    def cells(self) -> list[Cell]:
        """One for each AUC."""
        return [(auc,) for auc in self.aucs]

    def measure(self, cell: Cell, path: tuple[int, ...]) -> list[dict[str, Any]]:
        """Train, permute and conclude; one row for each claim."""
        (auc,) = cell
        half = self.n // 2
        strength = strength_for(auc, *train_sizes(self.n), half=True)
        people = draw_cohort(half, self.n - half, 1, strength, path)
        kind = "no effect" if auc <= 0.5 else f"equal models, AUC {auc:g}"
        is_audited = auc <= 0.5 and path[-1] < self.n_audited
        models = dict(CANDIDATES)
        if auc > 0.5:
            models = {name: models[name] for name in ("linear_svm", "logistic_ridge")}
            models = {NETWORK: models["linear_svm"], "linear_svm": models["logistic_ridge"]}
        study = make_up_study(people, models, self.n_permutations, path)
        metrics = conclude(study, is_audited=is_audited)
        found = claims(metrics, is_audited)
        if auc > 0.5:
            found = {name: found[name] for name in OF_EQUALS}
        return [
            {"kind": kind, "claim": name, "is_made": int(is_made)}
            for name, is_made in found.items()
        ]

    def summarise(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rate of each claim."""
        return rates(rows)


def make_up_study(
    people: People,
    models: dict[str, tuple[slice, float]],
    n_permutations: int,
    path: tuple[int, ...],
) -> Study:
    """Train models on people and on permutations of their labels; add covariates of pure noise."""
    rng = np.random.default_rng([*path, 1])
    n = len(people.labels)
    cohort = build_cohort(people.labels)
    participants = pd.DataFrame(
        {
            "participant_id": cohort.participant_ids,
            "age": [f"{age:.0f}" for age in rng.normal(45, 10, n)],
            "mean_framewise_displacement": [f"{mm:.3f}" for mm in rng.lognormal(-2, 0.4, n)],
        }
    )
    noise = {name: rng.standard_normal((n, width)) for name, width in SHORTCUTS.items()}

    def score(some: People) -> dict[str, Any]:
        scores = {name: some.out_of_fold(*what) for name, what in models.items()}
        for name, columns in noise.items():
            scores[name] = np.empty((1, n))
            for split in some.splits:
                model = fit(columns[split.train], some.labels[split.train])
                scores[name][0, split.test] = model.scores(columns[split.test])
        return scores

    null = []
    for index in range(n_permutations):
        shuffled = permute_labels(cohort, rng)
        # features stay where they are, and carry their effect along
        splits = split_rows(shuffled, 1, index)
        again = People(people.features, shuffled.labels, splits, people.strength)
        scores = {name: again.out_of_fold(*what) for name, what in models.items()}
        table = again.fold_aucs(scores)
        weights = table["n_pairs"].to_numpy() / table["n_pairs"].sum()
        null.append({name: float(weights @ table[name].to_numpy()) for name in models})
    return Study(people.table(score(people)), pd.DataFrame(null), participants, {"seeds": path})


@dataclass(frozen=True)
class NullNetwork:
    """The default network with its baselines on cohorts of made-up maps without an effect.

    Each cohort leaves one file with its out-of-fold table and the AUCs under shuffled labels; what
    a study says is computed from those files, so that a later version needs no training.

    Parameters
    ----------
    network, preparation, baselines
        As for a study.
    n_cohorts : int
        Whose seeds are 0, 1, 2, ...
    n_permutations : int
        In each at most; p < 0.05 needs 20 at least.
    n_subjects : int
        In each, half of them of either group.
    n_splits, inner_splits : int
        Folds, of one repeat.
    voxel_size_mm : int
        Of the template grid.
    n_jobs : int
        Processes.
    """

    network: NetworkBuilder
    preparation: PreparationSettings
    baselines: dict[str, Baseline] = field(default_factory=dict)
    n_cohorts: Count = 200
    n_permutations: NonNegativeCount = 20
    n_subjects: Several = 30
    n_splits: Several = 3
    inner_splits: Several = 2
    voxel_size_mm: VoxelSize = 8
    n_jobs: Jobs = 1

    def run(self, out: Path) -> list[str]:
        """Train on the cohorts that `out` doesn't hold yet; say what all of them say."""
        folder = out / "cohorts"
        folder.mkdir(parents=True, exist_ok=True)
        name = digest(NULL_FORMAT, self._settings())
        paths = {seed: folder / f"null-{name}-{seed:04d}.json.gz" for seed in range(self.n_cohorts)}
        missing = [seed for seed, path in paths.items() if not path.exists()]
        n_jobs = count_processes(Compute(n_jobs=self.n_jobs), build_trainer(CPU_TRAINER))
        done = len(paths) - len(missing)
        with tqdm(total=len(paths), initial=done, unit="cohort") as bar:
            for seed, study in map_units(_train, self, missing, n_jobs):
                study.write(paths[seed])
                bar.update()
        return self._write_said(paths, out, n_jobs)

    def open(self, seed: int, folder: Path) -> Cohort:
        """Make the maps of one cohort below a folder, decode and check them."""
        listing = read_synthetic(
            folder / "cohort", self.n_subjects, 0.0, voxel_size_mm=self.voxel_size_mm, seed=seed
        )
        store = ArrayStore(folder / "store", MapsOnGrid(build_grid(self.voxel_size_mm)))
        return open_cohort(listing, store)

    def say(self, path: Path, seed: int) -> dict[str, Any]:
        """Conclude from the file of one cohort what a study says of it; nothing is trained."""
        study = read_study(path)
        with tempfile.TemporaryDirectory(prefix="fmnet-null-") as place:
            metrics = conclude(study, self.open(seed, Path(place)))
        return {
            "claims": claims(metrics),
            "figures": figures(metrics),
            "shapes": [shape(one) for one in sentences(metrics)],
            "verdict": metrics["verdict"],
            "seconds": study.about["seconds"],
        }

    def train(self, seed: int) -> Study:
        """Make one cohort and cross-validate everything on it, under its labels and shuffled."""
        started = perf_counter()
        with tempfile.TemporaryDirectory(prefix="fmnet-null-") as place:
            data = read_scans(self.open(seed, Path(place)), self.preparation)
            trainable = Trainable(self.network, max_epochs=0)
            folds = partial(
                build_folds,
                n_splits=self.n_splits,
                n_repeats=1,
                inner_splits=self.inner_splits,
                seed=seed,
            )
            pipeline = Pipeline(trainable, self.baselines, folds, seed)
            predictions, _ = crossvalidate(pipeline, data, folds(data.cohort))
            trained = perf_counter()
            permuted = Pipeline(trainable, self._exportable(), folds, seed)
            null = self._permute(permuted, data, predictions)
            table = data.cohort.listing.participants
        about = {
            "seed": seed,
            "settings": self._settings(),
            "versions": versions(),
            "seconds": {"folds": trained - started, "permutations": perf_counter() - trained},
        }
        return Study(predictions, pd.DataFrame(null), table, about)

    def _permute(
        self, pipeline: Pipeline, data: ScanSet, predictions: pd.DataFrame
    ) -> list[dict[str, float]]:
        """Run permutations until neither the network nor the best model can come below `ALPHA`.

        Where 20 are asked for, one that reaches the AUC observed decides it: the calls are those of
        all of them, at a quarter of the price.

        References
        ----------
        Besag, J., & Clifford, P. (1991). Sequential Monte Carlo p-values. Biometrika, 78.
        """
        among = [NETWORK, *pipeline.baselines]
        observed = study_aucs(predictions, 1)
        best = max(observed[name] for name in among)
        null: list[dict[str, float]] = []
        reached = np.zeros(2, dtype=int)
        # the first decide most of it; those after them share what needs no labels
        few = min(FIRST, self.n_permutations)
        for indices in (range(few), range(few, self.n_permutations)):
            if ((reached + 1) / (self.n_permutations + 1) >= ALPHA).all() or not indices:
                break
            found = run_permutations_together((pipeline, data, 1), list(indices))
            for aucs in found:
                reached += [
                    aucs[NETWORK] >= observed[NETWORK] - 1e-9,
                    max(aucs.values()) >= best - 1e-9,
                ]
            null += found
        return null

    def _write_said(self, paths: dict[int, Path], out: Path, n_jobs: int) -> list[str]:
        """Say what studies say, one file each; write rates, sentences and figures; return rates.

        What this version of the code said of a study is kept.
        """
        folder = out / "said"
        folder.mkdir(parents=True, exist_ok=True)
        kept = {
            (seed, path): folder / f"{path.name.split('.')[0]}-{code_digest()}.json"
            for seed, path in paths.items()
        }
        missing = [unit for unit, file in kept.items() if not file.exists()]
        with tqdm(total=len(paths), initial=len(paths) - len(missing), unit="verdict") as bar:
            for unit, said in map_units(_say, self, missing, n_jobs):
                write_atomically(kept[unit], json.dumps(said))
                bar.update()
        found = [json.loads(file.read_text("utf-8")) for file in kept.values()]
        made = [
            {"kind": "no effect", "claim": claim, "is_made": is_made}
            for one in found
            for claim, is_made in one["claims"].items()
        ]
        table = rates(pd.DataFrame(made))
        shapes = pd.Series([text for one in found for text in set(one["shapes"])]).value_counts()
        numbers = pd.DataFrame([one["figures"] for one in found])
        write_table(table, out / "rates.tsv")
        write_table(
            shapes.rename_axis("sentence").reset_index(name="studies"), out / "sentences.tsv"
        )
        write_table(numbers, out / "figures.tsv")
        seconds = pd.DataFrame([one["seconds"] for one in found]).sum(axis=1)
        lines = [f"{len(found)} cohorts without an effect, {seconds.mean():.0f} s each"]
        lines += [_rate_line(row) for row in table.to_dict("records")]
        # of others p isn't decided where permutations ended early
        for name in (f"p/{NETWORK}", "p_chosen"):
            if name in numbers and (n := int(numbers[name].notna().sum())):
                counted = rate(int((numbers[name] < ALPHA).sum()), n)
                lines.append(_rate_line({"claim": f"{name} < {ALPHA:g}"} | counted))
        for name in ("auc_exported", "auc_corrected"):
            mean = mean_of(numbers[name].to_numpy(float))
            lines.append(f"{name}: {mean['mean']:.3f} [{mean['low']:.3f}, {mean['high']:.3f}]")
        return lines

    def _exportable(self) -> dict[str, Baseline]:
        return {name: one for name, one in self.baselines.items() if one.is_exportable}

    def _settings(self) -> dict[str, Any]:
        found = describe(self)
        return {name: one for name, one in found.items() if name not in {"n_cohorts", "n_jobs"}}


def _train(network: NullNetwork, seed: int) -> Study:
    return network.train(seed)


def _say(network: NullNetwork, unit: tuple[int, Path]) -> dict[str, Any]:
    return network.say(unit[1], unit[0])


def _rate_line(row: Mapping[Any, Any]) -> str:
    return (
        f"{row['claim']}: {row['times']} of {row['n_cohorts']}, {row['share']:.3f} "
        f"[{row['low']:.3f}, {row['high']:.3f}]"
    )
