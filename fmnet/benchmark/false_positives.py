"""How often the whole pipeline calls a cohort without any effect significant."""

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from scipy.stats import binomtest
from tqdm import tqdm

from fmnet.data.cohort import open_cohort
from fmnet.data.folds import build_folds
from fmnet.data.store import ScanStore
from fmnet.data.synthetic import read_synthetic
from fmnet.data.tables import write_table
from fmnet.data.template import build_grid
from fmnet.deploy.preparation import PreparationSettings
from fmnet.limits import Count, Several, VoxelSize
from fmnet.networks.backbones import build_small_cnn
from fmnet.study.baselines.base import Baseline
from fmnet.study.baselines.linear import LinearSvm
from fmnet.study.crossval import Pipeline, crossvalidate
from fmnet.study.data import load_study_data
from fmnet.study.permutation import (
    PermutationPlan,
    run_permutations_together,
    summarise_permutations,
)
from fmnet.study.workers import map_units
from fmnet.training.fit import Trainable
from fmnet.training.recipe import Recipe
from fmnet.training.trainer import build_trainer

ALPHA = 0.05


@dataclass(frozen=True)
class FalsePositives:
    """Null cohorts, each with its own permutation test.

    Parameters
    ----------
    n_cohorts : int
        Synthetic cohorts with effect size 0, whose seeds are 0, 1, 2, ...
    n_permutations : int
        In each; p < 0.05 needs 20 at least.
    n_subjects, n_splits, max_epochs : int
        Small, so that it can be repeated; every step of a study is there.
    voxel_size_mm : int
        Of the template grid.
    n_jobs : int
        Processes.
    """

    n_cohorts: Count = 100
    n_permutations: Count = 20
    n_subjects: Several = 24
    n_splits: Several = 3
    max_epochs: Count = 3
    voxel_size_mm: VoxelSize = 8
    n_jobs: Count = 1

    def run(self, out: Path) -> list[str]:
        """Test the cohorts that `out` doesn't hold yet; return the rates in words."""
        out.mkdir(parents=True, exist_ok=True)
        paths = {seed: out / f"cohort-{seed:04d}.tsv" for seed in range(self.n_cohorts)}
        missing = [seed for seed, path in paths.items() if not path.exists()]
        bar = tqdm(total=len(paths), initial=len(paths) - len(missing), unit="cohort")
        with bar:
            for seed, table in map_units(_test_cohort, self, missing, self.n_jobs):
                part = paths[seed].with_suffix(".part")
                write_table(table, part)
                part.replace(paths[seed])
                bar.update()
        found = pd.concat([pd.read_csv(path, sep="\t") for path in paths.values()])
        write_table(found, out / "p_values.tsv")
        return rate_lines(found)

    def test_cohort(self, seed: int) -> pd.DataFrame:
        """Make one null cohort and test each model on it: ``seed, model, auc, p``."""
        with tempfile.TemporaryDirectory(prefix="fmnet-null-") as place:
            folder = Path(place)
            listing = read_synthetic(
                folder / "cohort", self.n_subjects, 0.0, voxel_size_mm=self.voxel_size_mm, seed=seed
            )
            settings = PreparationSettings(voxel_size_mm=self.voxel_size_mm)
            store = ScanStore(folder / "store", build_grid(self.voxel_size_mm))
            data = load_study_data(open_cohort(listing, store), settings)
            pipeline = self._pipeline(seed)
            folds = pipeline.build_folds(data.cohort)
            predictions, _ = crossvalidate(pipeline, data, folds)
            indices = list(range(self.n_permutations))
            null = run_permutations_together(pipeline, data, indices, 1)
        plan = PermutationPlan(self.n_permutations)
        models = summarise_permutations(pd.DataFrame(null), predictions, plan)
        return pd.DataFrame(
            [
                {"seed": seed, "model": name, "auc": found["observed"], "p": found["p"]}
                for name, found in models["models"].items()
            ]
        )

    def _pipeline(self, seed: int) -> Pipeline:
        trainable = Trainable(
            partial(build_small_cnn, channels=(4, 8)),
            Recipe(max_epochs=self.max_epochs),
            build_trainer,
        )
        folds = partial(build_folds, n_splits=self.n_splits, n_repeats=1, inner_splits=2, seed=seed)
        baselines: dict[str, Baseline] = {
            "linear_svm": LinearSvm(fwhm_mm=(0.0, 12.0), c=(0.1, 1.0))
        }
        return Pipeline(trainable, baselines, folds, seed)


def _test_cohort(suite: FalsePositives, seed: int) -> pd.DataFrame:
    return suite.test_cohort(seed)


def rate_lines(p_values: pd.DataFrame, alpha: float = ALPHA) -> list[str]:
    """Say how often each model's p-value fell below `alpha`, with an exact binomial interval."""
    lines = []
    for model, rows in p_values.groupby("model"):
        hits, n = int((rows["p"] < alpha).sum()), len(rows)
        low, high = binomtest(hits, n).proportion_ci()
        lines.append(
            f"{model}: {hits} of {n} null cohorts at p < {alpha:g}: {hits / n:.3f} "
            f"[{low:.3f}, {high:.3f}]; mean AUC {rows['auc'].mean():.3f}"
        )
    return lines
