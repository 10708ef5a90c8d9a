"""What raised and what lowered one person's score: by voxel where linear, and by region."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.data.signature_map import Description, SignatureMap
from fmnet.data.volume import FloatArray
from fmnet.errors import ExplanationError, Fault
from fmnet.inference.bold import NewBoldScan, predict_run_with_values
from fmnet.inference.bundle import Bundle
from fmnet.inference.contributions import contributions_of, effects_of_regions
from fmnet.inference.model_card import percent
from fmnet.inference.predict import (
    USUAL,
    NewScan,
    Prediction,
    Request,
    predict_with_values,
)
from fmnet.inference.preparation import MapPreparation
from fmnet.inference.signature_files import (
    coordinate_boxes,
    read_regions,
    read_weights,
    world_points,
)
from fmnet.inference.study_people import GROUPS, PERCENTILES, StudyPeople, read_people

#: What stands across everything that was asked for although the signature is not stable.
FORCED = "Forced: this signature is not stable"
#: Words for what a positive value means.
RAISES = "positive: raises the score, towards {positive}; negative: lowers it, towards {negative}"


@dataclass(frozen=True, eq=False)
class Explanation:
    """What raised and what lowered one person's score.

    Parameters
    ----------
    prediction : Prediction
        Score and probability.
    map : SignatureMap
        What each voxel adds to the linear part of the score; where there is none, or it is not
        known, each region's effect, painted over it.
    regions : DataFrame
        A row for each region, the largest effects first: ``label``, ``region``, centre ``x``,
        ``y``, ``z`` in mm, ``n_voxels``, ``effect`` (the score less the score with the region at
        the training mean), ``linear`` (what its voxels add to the linear part, NaN where that is
        not known), the ranges of the study's people (``low_positive`` and so on, 5th, 50th and 95th
        percentile), and ``outside`` both ranges: "above", "below" or empty.
    people : StudyPeople or None
        The study's people; None where they aren't known.
    start, total : float or None
        Linear part of the score at the training mean, and of this scan: their difference is the sum
        of the map. None where no linear part is known.
    mark : str
        What has to stand across everything; empty where the signature is stable.
    notes : tuple of str
        What a reader has to know.
    values : ndarray of float32, shape (C, V), or None
        The maps on the grid that were scored.
    """

    prediction: Prediction
    map: SignatureMap
    regions: pd.DataFrame
    people: StudyPeople | None = None
    start: float | None = None
    total: float | None = None
    mark: str = ""
    notes: tuple[str, ...] = ()
    values: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class Explainer:
    """A bundle with all that explains its scores, read once for any number of scans.

    Parameters
    ----------
    bundle : Bundle
        Of maps, or of maps made from runs.
    preparation : MapPreparation
        The bundle's.
    regions : ndarray of int, shape (V,)
        Number of each in-mask voxel's region, 0 for none.
    labels, names : tuple, R each
        Numbers and names of the regions.
    people : StudyPeople or None
        The study's people.
    weights : SignatureMap or None
        Of the linear part, or of the linear map that comes nearest.
    mark : str
        Empty where the signature is stable.
    """

    bundle: Bundle
    preparation: MapPreparation
    regions: NDArray[np.int64]
    labels: tuple[int, ...]
    names: tuple[str, ...]
    people: StudyPeople | None = None
    weights: SignatureMap | None = None
    mark: str = ""

    def explain(self, prediction: Prediction, values: FloatArray) -> Explanation:
        """Explain a score that was given to maps on the grid, (C, V)."""
        if prediction.score is None:
            raise ValueError("what has no score can't be explained")
        effects = effects_of_regions(self.bundle, values, self.regions, self.labels)
        table = self._table(effects)
        about = {"Scan": prediction.scan, "Score": prediction.score, "Mark": self.mark}
        start = total = None
        if self.weights is None:
            shown = self._map("occlusion", self._paint(effects), "score of the whole region", about)
        else:
            contributions, start = contributions_of(values, self.weights, self.preparation.mean)
            total = None if start is None else start + float(contributions.sum(dtype=np.float64))
            table["linear"] = self._sum_by_region(contributions)
            about |= {"ScoreAtTrainingMean": start, "LinearPartOfScore": total}
            shown = self._map("contribution", contributions, "score", about)
        order = np.argsort(-table["effect"].abs(), kind="stable")
        return Explanation(
            prediction,
            shown,
            table.iloc[order].reset_index(drop=True),
            self.people,
            start,
            total,
            self.mark,
            tuple(self._notes(values)),
            values,
        )

    def _map(
        self, description: Description, values: FloatArray, units: str, about: dict[str, Any]
    ) -> SignatureMap:
        training = self.bundle.metadata["training"]
        sign = RAISES.format(positive=training["positive"], negative=training["negative"])
        return SignatureMap(
            values,
            self.preparation.grid,
            ("all",) if self.weights is None else self.preparation.contrasts,
            description,
            units,
            sign,
            training.get("title", "network"),
            "final",
            1,
            about,
        )

    def _paint(self, effects: NDArray[np.float64]) -> FloatArray:
        """Give every voxel the effect of its region: (1, V)."""
        painted = np.zeros((1, len(self.regions)), np.float32)
        for label, effect in zip(self.labels, effects, strict=True):
            painted[:, self.regions == label] = effect
        return painted

    def _sum_by_region(self, contributions: FloatArray) -> NDArray[np.float64]:
        summed = contributions.sum(axis=0, dtype=np.float64)
        return np.array([summed[self.regions == label].sum() for label in self.labels])

    def _table(self, effects: NDArray[np.float64]) -> pd.DataFrame:
        """Tabulate regions with the study's people beside them; in the order of the labels."""
        points = world_points(self.preparation.grid)
        own = [points[self.regions == label] for label in self.labels]
        centres = np.array([part.mean(axis=0) for part in own]).round(1)
        table = pd.DataFrame({"label": self.labels, "region": self.names})
        table[["x", "y", "z"]] = centres
        table["n_voxels"] = [len(part) for part in own]
        table["effect"], table["linear"] = effects, np.nan
        for group in GROUPS:
            for row, name in enumerate(PERCENTILES):
                known = None if self.people is None else self.people.ranges[group][row]
                table[f"{name}_{group}"] = np.nan if known is None else known
        table["outside"] = ""
        if self.people is not None:
            table.loc[effects > self.people.high, "outside"] = "above"
            table.loc[effects < self.people.low, "outside"] = "below"
        return table

    def _notes(self, values: FloatArray) -> Iterator[str]:
        missing = 1 - np.isfinite(values).mean()
        if missing > 0:
            yield (
                f"{100 * missing:.2g} % of the mask holds no data in this scan; it counts as the "
                "mean of the training scans there, and is shown as adding nothing"
            )
        fraction = None if self.weights is None else self.weights.about.get("LinearFractionOfScore")
        if isinstance(fraction, float) and 0 <= fraction < 1:
            yield (
                f"{percent(fraction)} of this model's score is linear, and the map shows that; "
                "effects of regions are of the whole score"
            )
        if self.weights is not None and self.weights.description == "surrogate":
            yield (
                "the map is of the linear map that comes nearest to the network, and not of the "
                "network itself; effects of regions are of the network"
            )
        if self.people is not None:
            told = {
                "final": "people whom this model learned from; a new person's effects tend to be "
                "smaller",
                "out-of-fold": "effects by models that had not seen the person and learned from "
                "fewer people, whose scores may be spread less or more than this model's",
            }
            yield f"ranges of regions are of {told[self.people.source]}"


def explain_scan(
    bundle: Bundle, scan: NewScan | NewBoldScan, is_forced: bool = False
) -> Explanation:
    """Score a scan and say what raised and what lowered its score.

    `is_forced`: also where the signature is not stable; then by boxes instead of regions, without a
    linear part, and marked.

    Raises
    ------
    ExplanationError
        If the scan has no score, or it is not known which regions carry the signature.
    BundleError
        If what the bundle holds to say so is damaged.
    """
    explainer = read_explainer(bundle, is_forced)
    prediction, values = score_with_values(bundle, scan)
    if values is None or prediction.score is None:
        accepted, action = "a scan that the signature can score", "see the reason"
        raise _unexplained(scan.name, f"no score ({prediction.reason})", accepted, action)
    return explainer.explain(prediction, values)


def score_with_values(
    bundle: Bundle, scan: NewScan | NewBoldScan, request: Request = USUAL
) -> tuple[Prediction, FloatArray | None]:
    """Score a scan of either kind; give what the preparation takes of it too, if it is readable."""
    if isinstance(scan, NewScan):
        return predict_with_values(bundle, scan, request)
    return predict_run_with_values(bundle, scan, request)


def read_explainer(bundle: Bundle, is_forced: bool = False) -> Explainer:
    """Read what a bundle holds to explain its scores.

    Raises
    ------
    ExplanationError
        If the signature reads series, or is not stable and `is_forced` is false.
    BundleError
        If a file of it is damaged.
    """
    facts, preparation = bundle.signature, bundle.preparation
    if bundle.target is not None:
        raise _unexplained(
            str(bundle.folder),
            f"a signature of {bundle.target['title']}",
            "a signature that tells two groups apart, whose study looked for its regions",
            "score the scan without an explanation: fmnet-predict",
        )
    if not isinstance(preparation, MapPreparation):
        raise _unexplained(
            str(bundle.folder),
            "a signature that reads time series",
            "a signature of maps, or of maps made from runs",
            "see the maps of its seeds and networks in the study's report",
        )
    if facts is None or not facts.is_stable:
        words = "no record of which regions carry it" if facts is None else facts.words
        if not is_forced:
            raise _unexplained(
                str(bundle.folder),
                words,
                "a stable signature",
                "read the score without a map, or force a marked one: fmnet explain --force",
            )
        regions, names = coordinate_boxes(preparation.grid)
        mark = f"{FORCED} ({words}). What follows may be chance."
        return Explainer(
            bundle, preparation, regions, tuple(names), tuple(names.values()), mark=mark
        )
    people = read_people(bundle.folder)
    regions = read_regions(bundle, people.labels)
    weights = read_weights(bundle, facts.files)
    return Explainer(bundle, preparation, regions, people.labels, people.names, people, weights)


def _unexplained(where: str, found: str, accepted: str, action: str) -> ExplanationError:
    return ExplanationError(Fault(where, found, accepted, action))
