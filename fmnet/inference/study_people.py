"""Scores and effects of regions of a study's people, beside which a new person's are shown.

A study writes them as ``signature/reference_people.json``, without names and in no order.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmnet.errors import printable
from fmnet.inference.bundle_files import (
    COUNT,
    NUMBER,
    SIGNATURE,
    TEXT,
    list_of,
    one_of,
    read_fields,
    refuse,
)

Floats = NDArray[np.float64]
Group = Literal["positive", "negative"]
GROUPS: tuple[Group, ...] = ("positive", "negative")
#: Its file, in the folder of the signature.
PEOPLE = "reference_people.json"
#: The range of a group: these percentiles of its people, and the middle one.
PERCENTILES = {"low": 5.0, "middle": 50.0, "high": 95.0}
#: Most regions of a parcellation.
MAX_REGIONS = 2000
#: What is relied on of the file.
FIELDS = {
    "source": one_of(("final", "out-of-fold")),
    "regions.label": list_of(COUNT),
    "regions.name": list_of(TEXT),
    **{f"scores.{group}": list_of(NUMBER, may_be_empty=True) for group in GROUPS},
    **{f"regions.{group}.{name}": list_of(NUMBER) for group in GROUPS for name in PERCENTILES},
}


@dataclass(frozen=True, eq=False)
class StudyPeople:
    """Scores of a study's people by group, and the range of each region's effect on them.

    Parameters
    ----------
    scores : dict of ndarray, each shape (N_group,)
        In ascending order, on the scale of the bundle's scores, each by a model that had not seen
        the person.
    labels, names : tuple, R each
        Number of a region in ``regions_dseg.nii.gz``, and what it is called.
    ranges : dict of ndarray, each shape (3, R)
        Of each group, 5th, 50th and 95th percentile of what a region adds to the score.
    source : {"final", "out-of-fold"}
        By which models the effects are.
    """

    scores: Mapping[Group, Floats]
    labels: tuple[int, ...]
    names: tuple[str, ...]
    ranges: Mapping[Group, Floats]
    source: str

    @property
    def low(self) -> Floats:
        """Lower end of the range of both groups together: (R,)."""
        return np.asarray(np.minimum(*(self.ranges[group][0] for group in GROUPS)))

    @property
    def high(self) -> Floats:
        """Upper end of the range of both groups together: (R,)."""
        return np.asarray(np.maximum(*(self.ranges[group][2] for group in GROUPS)))


def region_reference(
    effects: ArrayLike,
    labels: ArrayLike,
    regions: Sequence[int],
    names: Mapping[int, str] | None = None,
    scores: ArrayLike | None = None,
    models: ArrayLike | None = None,
    scale: tuple[float, float] | None = None,
    source: Literal["final", "out-of-fold"] = "final",
) -> dict[str, Any]:
    """Gather of a study's people what a new person is shown beside, as plain values for JSON.

    Parameters
    ----------
    effects : array-like, shape (N, R)
        Of each scan, score less score with the region at the training mean.
    labels : array-like of int, shape (N,)
        1 for the positive group, else 0.
    regions : sequence of int, R of them
        Numbers of the regions in ``regions_dseg.nii.gz``, 1 or more.
    names : mapping from number to name, optional
        What they are called; "region 7" where that isn't known.
    scores : array-like, shape (N,), optional
        Out-of-fold scores of the same scans, NaN where there is none.
    models : array-like, shape (N,), optional
        Which model, fold by fold, gave each score: each has its own scale, and all are brought
        onto one, effects too where they are by the same models (``source`` of "out-of-fold").
    scale : (float, float), optional
        Half-way between the groups, and SD within them, of the scores of the exported model; else
        the mean of the models'.
    source : {"final", "out-of-fold"}
        Whether the effects are of the exported model, which has seen these people, or of models
        that had not.
    """
    values, y = np.asarray(effects, dtype=float), np.asarray(labels, dtype=int)
    if values.shape != (len(y), len(regions)):
        raise ValueError(
            f"effects of shape {values.shape} for {len(y)} scans and {len(regions)} regions"
        )
    x = np.full(len(y), np.nan) if scores is None else np.asarray(scores, dtype=float)
    if scores is not None and models is not None:
        x, factors = _on_one_scale(x, y, np.asarray(models), scale)
        if source == "out-of-fold":
            values = values * factors[:, None]
    names = names or {}
    content: dict[str, Any] = {
        "source": source,
        "scores": {},
        "regions": {
            "label": [int(number) for number in regions],
            "name": [str(names.get(int(number), f"region {number}")) for number in regions],
        },
    }
    for group, label in zip(GROUPS, (1, 0), strict=True):
        own = np.sort(x[(y == label) & np.isfinite(x)])
        content["scores"][group] = [_short(value) for value in own]
        bounds = np.percentile(values[y == label], list(PERCENTILES.values()), axis=0)
        rows = zip(PERCENTILES, bounds, strict=True)
        content["regions"][group] = {name: [_short(one) for one in row] for name, row in rows}
    return content


def _on_one_scale(
    x: Floats, y: NDArray[np.int_], models: NDArray[Any], scale: tuple[float, float] | None
) -> tuple[Floats, Floats]:
    """Give scores of several models one middle and spread: (N,), and what each was multiplied by.

    Of a model that scored too few people the scale isn't known; its scores are left out.
    """
    standard, sds, scales = np.full(len(x), np.nan), np.full(len(x), np.nan), []
    for name in np.unique(models):
        own = (models == name) & np.isfinite(x)
        if len(set(y[own].tolist())) < 2 or own.sum() < 4:
            continue
        means = np.array([x[own & (y == label)].mean() for label in (0, 1)])
        sd = float(np.sqrt(((x[own] - means[y[own]]) ** 2).sum() / (own.sum() - 2)))
        if sd > 0:
            standard[own], sds[own] = (x[own] - means.mean()) / sd, sd
            scales.append((means.mean(), sd))
    if not scales:
        return x, np.ones(len(x))
    middle, spread = np.mean(scales, axis=0) if scale is None else scale
    factors = spread / np.where(np.isnan(sds), np.nanmedian(sds), sds)
    return np.asarray(middle + spread * standard), np.asarray(factors)


def _short(value: float) -> float:
    """Round to what is told of people: four digits."""
    return float(f"{value:.4g}")


def write_people(content: Mapping[str, Any], folder: Path) -> None:
    """Write what `region_reference` gathered into the folder of a signature."""
    (folder / PEOPLE).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", "utf-8")


def read_people(bundle: Path) -> StudyPeople:
    """Read what a study wrote of its people.

    Raises
    ------
    BundleError
        If it is missing, damaged, or its lists don't belong together.
    """
    path = bundle / SIGNATURE / PEOPLE
    content = read_fields(path, FIELDS)
    regions = content["regions"]
    labels = tuple(regions["label"])
    lists = [regions["name"], *(regions[group][name] for group in GROUPS for name in PERCENTILES)]
    if any(len(one) != len(labels) for one in lists) or len(set(labels)) != len(labels):
        raise refuse(bundle, f"{SIGNATURE}/{PEOPLE} whose lists don't belong together")
    if len(labels) > MAX_REGIONS:
        raise refuse(bundle, f"{SIGNATURE}/{PEOPLE} of more than {MAX_REGIONS} regions")
    return StudyPeople(
        {group: np.array(content["scores"][group], dtype=float) for group in GROUPS},
        labels,
        tuple(printable(name) for name in regions["name"]),
        {
            group: np.array([regions[group][name] for name in PERCENTILES], dtype=float)
            for group in GROUPS
        },
        content["source"],
    )
