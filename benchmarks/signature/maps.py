"""Kinds of maps of models that learned everybody of a cohort, and of the groups themselves."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from benchmarks.power.contender import FOLDS, Contender
from benchmarks.power.planted import PlantedCohort
from fmnet.baselines.base import Baseline, Model
from fmnet.crossval.fold_loop import TrainedNetwork
from fmnet.data.folds import Fold, build_inner_folds
from fmnet.data.resample import smooth_values
from fmnet.data.volume import FloatArray
from fmnet.inference.preparation import MapPreparation, PreparationSettings
from fmnet.networks.backbones import ScoreNetwork
from fmnet.signature.attribution import group_attribution, integrated_gradients, occlusion
from fmnet.signature.linear import haufe_pattern, variance_shares
from fmnet.signature.map_agreement import standard_weights
from fmnet.signature.regions import coordinate_regions
from fmnet.signature.surrogate import Surrogate, fit_surrogate
from fmnet.signature.z_map import permuted_labelings, test_by_labels
from fmnet.training.compute import Compute, plan_compute
from fmnet.training.fit import FoldTask, Trainable, predict_scores, train_on_folds
from fmnet.training.scan_set import ScanSet
from fmnet.training.trainer import CPU_TRAINER

Maps = dict[str, FloatArray]

#: Smoothing of t maps, as usual in group studies, and of weights, beside those that are not; and of
#: what voxels add to the difference of the groups.
FWHM_MM, NARROW_MM = 8.0, 6.0
#: Regions that are occluded, about 2.5 cm across.
N_REGIONS = 100


class MapMaker(Protocol):
    """Whatever makes maps of a cohort's voxels."""

    def make(self, planted: PlantedCohort) -> Maps:
        """Make maps by kind, each (C, V)."""
        ...


@dataclass(frozen=True)
class DifferenceMaps:
    """Mass-univariate maps: each voxel's t-value between the groups, with and without smoothing."""

    def make(self, planted: PlantedCohort) -> Maps:
        """Compute ``t`` and ``t_8mm``."""
        smooth = smooth_values(planted.values, planted.grid, FWHM_MM)
        return {
            "t": t_map(planted.values, planted.labels),
            "t_8mm": t_map(smooth, planted.labels),
        }


def t_map(values: FloatArray, labels: Any) -> FloatArray:
    """Compute each voxel's t-value between the groups of maps, (N, C, V): (C, V)."""
    one, other = values[labels == 1], values[labels == 0]
    freedom = len(labels) - 2
    within = (one.var(axis=0) * len(one) + other.var(axis=0) * len(other)) / freedom
    error = np.sqrt(within * (1 / len(one) + 1 / len(other)))
    difference = one.mean(axis=0) - other.mean(axis=0)
    t = np.divide(difference, error, out=np.zeros_like(error), where=error > 0)
    return np.asarray(t, dtype=np.float32)


@dataclass(frozen=True)
class LinearMaps:
    """Maps of a linear baseline.

    Parameters
    ----------
    baseline : Baseline
        One with a weight for each voxel.
    n_permutations : int
        Orders of the labels that the z map comes from; 0 for none.
    """

    baseline: Baseline
    n_permutations: int

    def make(self, planted: PlantedCohort) -> Maps:
        """Learn everybody; make maps of weights and patterns.

        ``weights``; ``standard_weights``, also smoothed; ``z``; ``difference_6mm``, what voxels add
        to the difference of the groups' mean scores, smoothed; ``variance_shares``, what they add
        to the variance of the scores, also smoothed; ``pattern`` and, over the voxels' SDs,
        ``standard_pattern``.
        """
        data = planted.prepare(PreparationSettings(fwhm_mm=0.0))
        maps = weight_maps(self.baseline, data, planted.seed, self.n_permutations)
        scores = np.tensordot(data.values, maps["weights"], axes=2)
        one, other = (data.values[data.labels == label].mean(axis=0) for label in (1, 0))
        added = maps["weights"] * (one - other)
        maps["difference_6mm"] = smooth_values(added, data.grid, NARROW_MM)
        return maps | pattern_maps(data.values, scores)


@dataclass(frozen=True)
class NetworkMaps:
    """Maps of a network.

    Parameters
    ----------
    contender : Contender
        The network.
    n_permutations : int
        See `LinearMaps`.
    """

    contender: Contender
    n_permutations: int

    def make(self, planted: PlantedCohort) -> Maps:
        """Learn everybody; make what `LinearMaps` does, and maps that any network has.

        ``surrogate``, in SDs; ``attribution``, the mean size of integrated gradients;
        ``difference``, what they are in the positive group less the other, also smoothed; and the
        same of the occlusion of regions.
        """
        data = planted.prepare(self.contender.preparation)
        learned = learn(self.contender, data, planted.seed)
        maps = weight_maps(learned.model, data, planted.seed, self.n_permutations)
        network, inputs = learned.network, learned.inputs(data)
        maps |= pattern_maps(data.values, predict_scores(network, inputs))
        maps["surrogate"] = _standard(learned.surrogate(data, planted.seed).weights, data)
        inside, labels = data.grid.mask, data.labels
        attributions = integrated_gradients(network, inputs)[:, :, inside]
        maps["attribution"] = np.abs(attributions).mean(axis=0)
        maps["difference"] = group_attribution(attributions, labels)
        maps["difference_6mm"] = smooth_values(maps["difference"], data.grid, NARROW_MM)
        regions = coordinate_regions(data.grid, N_REGIONS)
        lost = occlusion(network, inputs, regions)  # (N, R)
        numbers = np.unique(regions[inside], return_inverse=True)[1]
        for name, each in (
            ("occlusion", np.abs(lost).mean(axis=0)),
            ("occlusion_difference", group_attribution(lost, labels)),
        ):
            maps[name] = np.tile(each[numbers], (len(data.contrasts), 1))
        return maps


@dataclass(frozen=True, eq=False)
class Learned:
    """A network that learned everybody of a cohort, and what learns it anew."""

    model: TrainedNetwork
    network: ScoreNetwork
    preparation: MapPreparation

    def inputs(self, data: ScanSet) -> FloatArray:
        """Prepare all scans: (N, C, X, Y, Z)."""
        return self.preparation.prepare(data.values)

    def surrogate(self, data: ScanSet, seed: int) -> Surrogate:
        """Fit the linear map that comes nearest to its score."""
        return fit_surrogate(self.network, self.preparation, data.values, data.units, seed)


def learn(contender: Contender, data: ScanSet, seed: int, fold: Fold | None = None) -> Learned:
    """Train a network on a fold, or on everybody, as the final one of a study."""
    planned = plan_compute(trainable_of(contender), Compute(), data)
    fold = fold or build_inner_folds(data.cohort, FOLDS["inner_splits"], seed)
    task = FoldTask(data, fold, seed, "signature")
    (trained,) = train_on_folds(planned, [task], is_calibrated=False)
    assert isinstance(trained.preparation, MapPreparation)
    return Learned(TrainedNetwork(planned, seed), trained.network, trained.preparation)


def trainable_of(contender: Contender) -> Trainable:
    """Say how a contender is trained, on the CPU."""
    return Trainable(
        contender.build_network,
        CPU_TRAINER,
        contender.max_epochs,
        contender.optimizer,
        augmentation=contender.augmentation,
    )


def weight_maps(model: Model, data: ScanSet, seed: int, n_permutations: int) -> Maps:
    """Weights of a model that learned everybody, as they are and in SDs, and against chance."""
    fold = build_inner_folds(data.cohort, FOLDS["inner_splits"], seed)
    observed = model.weights_of_labelings(data, fold, data.labels[None])
    if observed is None:
        return {}
    standard = _standard(observed[0], data)
    maps = {"weights": observed[0], "standard_weights": standard}
    maps["standard_weights_8mm"] = smooth_values(standard, data.grid, FWHM_MM)
    maps["variance_shares"] = variance_shares(observed[0], data.values)
    maps["variance_shares_6mm"] = smooth_values(maps["variance_shares"], data.grid, NARROW_MM)
    if n_permutations:
        orders = permuted_labelings(data.cohort, fold, n_permutations, seed)
        draws = (_standard(block, data) for block in orders.weights(model, data, fold))
        maps["z"] = test_by_labels(standard, draws, data.grid).z
    return maps


def pattern_maps(values: FloatArray, scores: Any) -> Maps:
    """Haufe's pattern of a score, in units of the map and in SDs of the voxels."""
    pattern = haufe_pattern(values, scores)
    sd = values.std(axis=0)
    standard = np.divide(pattern, sd, out=np.zeros_like(pattern), where=sd > 0)
    return {"pattern": pattern, "standard_pattern": standard}


def _standard(weights: FloatArray, data: ScanSet) -> FloatArray:
    return standard_weights(weights, data.values).astype(np.float32)
