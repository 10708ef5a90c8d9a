"""All maps of a study's signature, with the checks and tables that are made from the same fits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from fmnet.data.signature_map import Description, SignatureMap
from fmnet.data.volume import FloatArray
from fmnet.errors import FmnetError
from fmnet.inference.preparation import MapPreparation
from fmnet.inference.study_people import region_reference
from fmnet.networks.backbones import mean_gradient
from fmnet.signature.attribution import (
    BASELINE,
    group_attribution,
    incompleteness,
    integrated_gradients,
    occlusion,
    region_curve,
)
from fmnet.signature.checks import randomise_model
from fmnet.signature.fold_agreement import compare_folds, label_randomisation
from fmnet.signature.judge import Check, check_p, not_examined
from fmnet.signature.linear import haufe_pattern, linear_part
from fmnet.signature.map_agreement import Floats, standard_weights
from fmnet.signature.regions import Atlas
from fmnet.signature.series_maps import seed_maps, stem_attribution
from fmnet.signature.studied import FittedModel, StudiedModel
from fmnet.signature.study_checks import deletion_of_folds
from fmnet.signature.surrogate import Surrogate, explained_variance, fit_surrogate
from fmnet.signature.z_map import permuted_labelings, test_by_labels, thresholded
from fmnet.training.fit import predict_scores

#: Regions whose effect on the score is shown, and at which values, in SDs of the people.
N_CURVES, FACTORS = 4, (-2.0, -1.0, 0.0, 1.0, 2.0)
Threshold = Literal["fwe", "cluster", "fdr"]
#: How values of each kind are measured.
UNITS: Mapping[Description, str] = {
    "weights": "score per unit of the map",
    "surrogate": "score per unit of the map",
    "pattern": "units of the map per SD of the score",
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
SIGNS: Mapping[Description, str] = (
    {
        name: "positive: speaks for {positive}; negative: speaks for {negative}"
        for name in ("weights", "surrogate", "z", "thresholded")
    }
    | {
        name: "positive: sets {positive} above {negative}; negative: the other way round"
        for name in ("attribution", "occlusion")
    }
    | {
        "pattern": "positive: larger where the score is larger, towards {positive}",
        "groupdifference": "positive: larger in {positive}; negative: larger in {negative}",
        "positivemean": "mean of {positive}",
        "negativemean": "mean of {negative}",
        "coverage": "number of scans with data",
    }
)
#: Kinds that come from people out of fold, each by a model without them.
OUT_OF_FOLD: frozenset[Description] = frozenset({"attribution", "occlusion"})


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
    people : dict
        What a new person is shown beside, see `region_reference`.
    p_values : ndarray, shape (C, V), optional
        Of the voxels of the thresholded map, or of the clusters that they lie in.
    """

    maps: dict[Description, SignatureMap]
    checks: list[Check]
    facts: dict[str, Any]
    people: dict[str, Any]
    p_values: FloatArray | None = None


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
    _tested: dict[str, FloatArray] = field(default_factory=dict, init=False)

    def make(self) -> StudyMaps:
        """Fit the folds again, and make all maps and checks from these fits."""
        studied, data = self.studied, self.studied.data
        self._add_linear()
        final = studied.final
        learned = predict_scores(final.network, final.inputs(data, final.train))
        self._values["pattern"] = haufe_pattern(studied.filled(), learned)
        fitted = studied.without_test_people()
        if self._facts["linear_fraction"] < 1:
            self._add_surrogate(fitted)
        standard = np.stack([self._standard_weights(one) for one in fitted])
        again = [
            np.mean([self._standard_weights(one) for one in models], axis=0)
            for models in studied.reseeded()
        ]
        self._facts["folds"] = compare_folds(
            standard, studied.folds, data, self.atlas.regions, again
        )
        effects = self._add_out_of_fold(fitted)
        checks = [*self._test(standard), *self._check(fitted, standard)]
        self._add_curves(effects)
        self._add_groups()
        maps = {name: self._map(name) for name in self._values}
        return StudyMaps(maps, checks, self._facts, self._people(effects), self._tested.get("p"))

    def _people(self, effects: FloatArray) -> dict[str, Any]:
        """Gather what a new person is shown beside; each fold scores on its own scale."""
        studied, data = self.studied, self.studied.data
        fold_of = np.zeros(len(data.labels), int)
        for fold in studied.folds[: studied.n_first]:
            fold_of[data.rows(fold.test)] = fold.fold
        numbers = sorted(self.atlas.names)
        tested = np.isfinite(effects).all(axis=1)
        return region_reference(
            effects[tested], data.labels[tested], numbers, self.atlas.names, self.scores[tested],
            fold_of[tested], studied.scale, source="out-of-fold",
        )  # fmt: skip

    def _map(self, name: Description) -> SignatureMap:
        data, labels = self.studied.data, self.studied.data.cohort.listing.labels
        is_of_cohort = name in {"positivemean", "negativemean", "groupdifference", "coverage"}
        words = SIGNS[name].format(positive=labels.positive, negative=labels.negative)
        is_out_of_fold, people = name in OUT_OF_FOLD, set(data.participant_ids)
        if is_out_of_fold:
            first = self.studied.folds[: self.studied.n_first]
            people = {one for fold in first for one in fold.test}
        return SignatureMap(
            values=self._values[name].astype(np.float32),
            grid=data.grid,
            contrasts=data.contrasts,
            description=name,
            units=UNITS[name],
            sign=words,
            model="none: of the cohort" if is_of_cohort else self.studied.title,
            source="out-of-fold" if is_out_of_fold else "final",
            n_subjects=len(people),
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

    def _add_surrogate(self, fitted: Sequence[FittedModel]) -> None:
        """Add the linear map nearest to the whole, and how near such maps are in people unseen."""
        data, fits = self.studied.data, []

        def fit(one: FittedModel) -> Surrogate:
            assert isinstance(one.preparation, MapPreparation)
            units = [data.units[row] for row in one.train]
            values = data.values[one.train]
            return fit_surrogate(one.network, one.preparation, values, units, self.studied.seed)

        for one in fitted[: self.studied.n_first]:
            fits.append((fit(one), one.network, one.inputs(data, one.test)))
        r2, found = explained_variance(fits, data.grid.mask), fit(self.studied.final)
        self._values["surrogate"] = found.weights
        facts = {"r2": r2, "r2_learned": found.r2, "slope": found.slope, "kind": found.kind}
        self._facts["surrogate"] = facts
        self._about["surrogate"] = {
            "Intercept": found.intercept, "R2OutOfFold": r2, "R2OnPeopleLearned": found.r2
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
        """Explain scores by models of the first repeat that had not seen the person: (N, R).

        NaN for scans that are in no test fold.
        """
        data = self.studied.data
        shape = (len(data.values), len(data.contrasts), *data.grid.shape)
        attributions = np.zeros(shape, np.float32)
        effects, missed = np.full((len(data.values), len(self.atlas.names)), np.nan), [0.0]
        for one in fitted[: self.studied.n_first]:
            inputs = one.inputs(data, one.test)
            each = attributions[one.test] = integrated_gradients(one.network, inputs)
            missed.append(incompleteness(one.network, inputs, each))
            effects[one.test] = occlusion(one.network, inputs, self.atlas.regions)
        tested = np.isfinite(effects).all(axis=1)
        shown = group_attribution(attributions[tested], data.labels[tested])
        self._about["attribution"] = {"Baseline": BASELINE, "Incompleteness": max(missed)}
        self._about["occlusion"] = {"Baseline": BASELINE}
        self._values["attribution"] = shown[:, data.grid.mask]
        means = _group_difference(effects, data.labels)
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
                else "signature.n_permutations is 0"
            )
            yield not_examined("label_randomisation", reason)
            return
        fold, labels = studied.fold, data.labels[None]
        observed = studied.model.weights_of_labelings(data, fold, labels)
        if observed is None:
            yield not_examined("label_randomisation", "no part of the model is linear")
            return
        orders = permuted_labelings(data.cohort, fold, self.n_permutations, studied.seed)
        drawn: list[FloatArray] = []

        def blocks() -> Iterator[FloatArray]:
            for block in orders.weights(studied.model, data, fold):
                drawn.append(standard_weights(block, data.values).astype(np.float32))
                yield block

        test = test_by_labels(observed[0], blocks(), data.grid)
        kept = thresholded(test, by=self.threshold)
        self._values.update({"z": test.z, "thresholded": kept})
        of_voxels = {"fwe": test.p_fwe, "cluster": test.cluster_p, "fdr": test.p_fdr}
        self._tested["p"] = of_voxels[self.threshold]
        self._facts["z"] = {
            "n_permutations": test.n_permutations,
            "threshold": self.threshold,
            "threshold_fwe": test.threshold_fwe if np.isfinite(test.threshold_fwe) else None,
            "cluster_z": test.cluster_z,
            "largest": float(np.abs(test.z).max()),
            "n_voxels": {
                name: int((values <= 0.05).sum())
                for name, values in of_voxels.items()
            },
        }  # fmt: skip
        self._about.update({"z": self._facts["z"], "thresholded": self._facts["z"]})
        one = standard_weights(observed, data.values)[0]
        randomised = label_randomisation(one, np.concatenate(drawn), standard)
        self._facts["label_randomisation"] = randomised
        yield Check(
            "label_randomisation",
            randomised["is_passed"],
            randomised["r_permuted"],
            randomised["r_refitted"],
        )

    def _check(self, fitted: Sequence[FittedModel], standard: Floats) -> Iterator[Check]:
        """Ask whether the map needs the parameters, and whether its voxels matter."""
        studied, final = self.studied, self.studied.final
        first = fitted[: studied.n_first]
        deletion = deletion_of_folds(studied, first, standard[: studied.n_first])
        if deletion is None:
            yield not_examined("deletion", "no test fold holds both groups")
        else:
            self._facts["deletion"] = deletion
            gaps = deletion["faithful_gap"], deletion["faithful_gap_random"]
            yield check_p("deletion", *gaps, deletion["p_faithful"])
        inputs = final.inputs(studied.data, final.train)
        try:
            found = randomise_model(
                final.network, inputs, studied.data.labels, studied.data.grid, studied.seed
            )
        except FmnetError as error:
            yield not_examined("model_randomisation", str(error.faults[0].found))
            return
        self._facts["model_randomisation"] = {
            "draws": list(found.draws), "limit": found.limit, "cascade": dict(found.cascade)
        }  # fmt: skip
        yield Check("model_randomisation", found.passes, found.similarity, found.limit, None)

    def _add_curves(self, effects: FloatArray) -> None:
        """Show what the value of the few regions that matter most does to the score."""
        final, data = self.studied.final, self.studied.data
        means, numbers = _group_difference(effects, data.labels), sorted(self.atlas.names)
        inputs, curves = final.inputs(data, final.train), []
        plain = predict_scores(final.network, inputs)[:, None]
        for index in np.argsort(-np.abs(means), kind="stable")[:N_CURVES]:
            region = self.atlas.regions == numbers[index]
            change = region_curve(final.network, inputs, region, FACTORS) - plain
            spread = np.quantile(change, (0.1, 0.5, 0.9), axis=0)
            name = self.atlas.names[numbers[index]]
            curves.append({"region": name, "factors": list(FACTORS), "effects": spread.tolist()})
        self._facts["region_curves"] = curves

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


def _group_difference(effects: FloatArray, labels: NDArray[np.int64]) -> FloatArray:
    """Average effects of regions, (N, R), in the positive group less the other: (R,)."""
    positive, negative = (np.nanmean(effects[labels == label], axis=0) for label in (1, 0))
    return np.asarray(positive - negative)


def maps_of_series(studied: StudiedModel) -> StudyMaps:
    """Make the maps of a network of time series: its seeds or networks, and what counts of them.

    They are of the final model and the people it learned from: nothing of them is out of fold.
    """
    data, final = studied.data, studied.final
    labels = data.cohort.listing.labels
    maps: dict[Description, SignatureMap] = {}
    n_subjects = len(set(data.participant_ids))
    seeds = seed_maps(final.network, data.grid, studied.title, "final", n_subjects)
    if seeds is not None:
        maps["seed"] = seeds
    scans = data.prepared_by(final.preparation)
    windows = (scans.inputs(np.array([row])) for row in range(len(data.labels)))
    shown = stem_attribution(
        final.network, windows, data.labels, data.grid, studied.title, n_subjects,
        (labels.positive, labels.negative),
    )  # fmt: skip
    if shown is not None:
        maps["attribution"] = shown
    return StudyMaps(maps, [], {"linear_fraction": 0.0}, {})
