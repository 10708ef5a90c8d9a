"""All maps of a study's signature, with the checks and tables that are made from the same fits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from fmnet.data.signature_map import Description, SignatureMap
from fmnet.data.volume import FloatArray
from fmnet.inference.preparation import MapPreparation
from fmnet.networks.backbones import mean_gradient
from fmnet.signature.attribution import group_attribution, integrated_gradients, occlusion
from fmnet.signature.fold_agreement import compare_folds, label_randomisation
from fmnet.signature.judge import Check, not_examined
from fmnet.signature.linear import haufe_pattern, linear_part
from fmnet.signature.map_agreement import Floats, standard_weights
from fmnet.signature.regions import Atlas
from fmnet.signature.studied import FittedModel, StudiedModel
from fmnet.signature.z_map import permuted_labelings, test_by_labels, thresholded

Threshold = Literal["fwe", "cluster", "fdr"]
#: How values of each kind are measured.
UNITS: Mapping[Description, str] = {
    "weights": "score per unit of the map",
    "surrogate": "score per unit of the map",
    "pattern": "units of the map per SD of the out-of-fold score",
    "attribution": "score, difference of the groups' means",
    "occlusion": "score of the region, difference of the groups' means",
    "z": "z of the weight, against exchanged labels",
    "thresholded": "z of the weight, against exchanged labels",
    "positivemean": "units of the map",
    "negativemean": "units of the map",
    "groupdifference": "units of the map",
    "coverage": "scans",
}
#: What positive values of each kind mean, and negative ones; of others, more and less of them.
SIGNS: Mapping[Description, str] = {
    name: "positive: speaks for {positive}; negative: speaks for {negative}"
    for name in ("weights", "surrogate", "attribution", "occlusion", "z", "thresholded")
} | {
    "pattern": "positive: larger where the score is larger, towards {positive}",
    "groupdifference": "positive: larger in {positive}; negative: larger in {negative}",
    "positivemean": "mean of {positive}",
    "negativemean": "mean of {negative}",
    "coverage": "number of scans with data",
}
#: Kinds of people whom no model is made from: what they show is of the cohort.
OUT_OF_FOLD: frozenset[Description] = frozenset({"pattern", "attribution", "occlusion"})


@dataclass(frozen=True, eq=False)
class StudyMaps:
    """What is known of the regions of a signature.

    Parameters
    ----------
    maps : dict of SignatureMap
        By description.
    checks : list of Check
        Those that the same fits allow.
    facts : dict
        Plain values: ``linear_fraction``; ``folds``, how far their maps agree; ``z``, what the
        weights were tested against.
    effects : ndarray of float, shape (N, R)
        What each scan's score loses without a region, by models that had not seen the person.
    """

    maps: dict[Description, SignatureMap]
    checks: list[Check]
    facts: dict[str, Any]
    effects: FloatArray


@dataclass(frozen=True, eq=False)
class MapMaker:
    """Makes the maps of the model of a study.

    Parameters
    ----------
    studied : StudiedModel
        Which.
    atlas : Atlas
        Regions.
    scores : ndarray of float, shape (N,)
        Of each scan, out of fold.
    threshold : {"fwe", "cluster", "fdr"}
        What a voxel has to survive.
    n_permutations : int
        Orders of the labels that weights are tested against; 0 for none.
    """

    studied: StudiedModel
    atlas: Atlas
    scores: NDArray[np.float64]
    threshold: Threshold
    n_permutations: int
    _values: dict[Description, FloatArray] = field(default_factory=dict, init=False)
    _about: dict[Description, dict[str, Any]] = field(default_factory=dict, init=False)
    _facts: dict[str, Any] = field(default_factory=dict, init=False)

    def make(self) -> StudyMaps:
        """Fit the folds again, and make all maps and checks from these fits."""
        studied, data = self.studied, self.studied.data
        self._add_linear()
        self._values["pattern"] = haufe_pattern(studied.filled(), self.scores.astype(np.float32))
        fitted = studied.without_test_people()
        standard = np.stack([self._standard_weights(one) for one in fitted])
        self._facts["folds"] = compare_folds(standard, studied.folds, data, self.atlas.regions)
        effects = self._add_out_of_fold(fitted)
        checks = list(self._test(standard))
        self._add_groups()
        maps = {name: self._map(name) for name in self._values}
        return StudyMaps(maps, checks, self._facts, effects)

    def _map(self, name: Description) -> SignatureMap:
        data, labels = self.studied.data, self.studied.data.cohort.listing.labels
        is_of_cohort = name in {"positivemean", "negativemean", "groupdifference", "coverage"}
        words = SIGNS[name].format(positive=labels.positive, negative=labels.negative)
        return SignatureMap(
            values=self._values[name].astype(np.float32),
            grid=data.grid,
            contrasts=data.contrasts,
            description=name,
            units=UNITS[name],
            sign=words,
            model="none: of the cohort" if is_of_cohort else self.studied.title,
            source="out-of-fold" if name in OUT_OF_FOLD else "final",
            n_subjects=len(set(data.participant_ids)),
            about=self._about.get(name, {}),
        )

    def _add_linear(self) -> None:
        final = self.studied.final
        linear = linear_part(final.network, final.preparation)
        self._facts["linear_fraction"] = 0.0 if linear is None else linear.fraction
        if linear is None:
            return
        self._values["weights"] = linear.weights
        self._about["weights"] = {
            "Intercept": linear.intercept, "LinearFractionOfScore": linear.fraction
        }  # fmt: skip

    def _standard_weights(self, fitted: FittedModel) -> Floats:
        """Take the weights of a fitted model, or the mean gradient of its score: (C, V)."""
        data, preparation = self.studied.data, fitted.preparation
        assert isinstance(preparation, MapPreparation)
        linear = linear_part(fitted.network, preparation)
        if linear is not None:
            weights = linear.weights
        else:
            inputs = torch.from_numpy(fitted.inputs(data, fitted.train))
            gradient = mean_gradient(fitted.network, inputs).numpy()
            weights = preparation.weights_of_maps(gradient[:, data.grid.mask])
        return standard_weights(weights, data.values[fitted.train])

    def _add_out_of_fold(self, fitted: Sequence[FittedModel]) -> FloatArray:
        """Explain each person's score by a model of the first repeat that had not seen them."""
        data = self.studied.data
        attributions = np.zeros((len(data.values), *data.input_shape), np.float32)
        n_regions = len(self.atlas.names)
        effects = np.zeros((len(data.values), n_regions), np.float32)
        for one in fitted[: self.studied.n_first]:
            inputs = one.inputs(data, one.test)
            attributions[one.test] = integrated_gradients(one.network, inputs)
            effects[one.test] = occlusion(one.network, inputs, self.atlas.regions)
        shown = group_attribution(attributions, data.labels)
        self._values["attribution"] = shown[:, data.grid.mask]
        means = effects[data.labels == 1].mean(axis=0) - effects[data.labels == 0].mean(axis=0)
        painted = np.zeros(data.grid.n_voxels, np.float32)
        inside = self.atlas.regions[data.grid.mask]
        for number, mean in zip(np.unique(inside[inside > 0]), means, strict=True):
            painted[inside == number] = mean
        self._values["occlusion"] = np.broadcast_to(painted, (len(data.contrasts), *painted.shape))
        return effects

    def _test(self, standard: Floats) -> Iterator[Check]:
        """Test weights against those under exchanged labels, if that takes no gradient step."""
        studied, data = self.studied, self.studied.data
        if studied.takes_gradients or not self.n_permutations:
            reason = (
                "each order of the labels would take a training"
                if self.n_permutations
                else ("signature.n_permutations is 0")
            )
            yield not_examined("label_randomisation", reason)
            return
        fold, labels = studied.fold, data.labels[None]
        observed = studied.model.weights_of_labelings(data, fold, labels)
        assert observed is not None
        orders = permuted_labelings(data.cohort, fold, self.n_permutations, studied.seed)
        drawn: list[FloatArray] = []

        def blocks() -> Iterator[FloatArray]:
            for block in orders.weights(studied.model, data, fold):
                drawn.append(standard_weights(block, data.values).astype(np.float32))
                yield block

        test = test_by_labels(observed[0], blocks(), data.grid)
        kept = thresholded(test, by=self.threshold)
        self._values.update({"z": test.z, "thresholded": kept})
        self._facts["z"] = {
            "n_permutations": test.n_permutations,
            "threshold": self.threshold,
            "threshold_fwe": test.threshold_fwe if np.isfinite(test.threshold_fwe) else None,
            "cluster_z": test.cluster_z,
            "largest": float(np.abs(test.z).max()),
            "n_voxels": {
                name: int((values <= 0.05).sum())
                for name, values in (
                    ("fwe", test.p_fwe), ("cluster", test.cluster_p), ("fdr", test.p_fdr)
                )
            },
        }  # fmt: skip
        self._about.update({"z": self._facts["z"], "thresholded": self._facts["z"]})
        one = standard_weights(observed, data.values)[0]
        randomised = label_randomisation(one, np.concatenate(drawn), standard)
        self._facts["label_randomisation"] = randomised
        yield Check(
            "label_randomisation",
            "passed" if randomised["is_passed"] else "failed",
            randomised["r_permuted"],
            randomised["r_refitted"],
            randomised["fraction"],
        )

    def _add_groups(self) -> None:
        """Add means of the groups and their difference, and how many scans have data."""
        values, labels = self.studied.data.values, self.studied.data.labels
        known = np.isfinite(values)
        means = []
        for label in (1, 0):
            own = labels == label
            count = np.maximum(known[own].sum(axis=0), 1)
            means.append(np.where(known[own], values[own], 0).sum(axis=0) / count)
        self._values.update(
            {
                "positivemean": means[0],
                "negativemean": means[1],
                "groupdifference": means[0] - means[1],
                "coverage": known.sum(axis=0),
            }
        )
