"""Say in words what a map is, what its colours mean, and where it is largest."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fmnet.data.listing import Labels
from fmnet.data.signature_map import SignatureMap
from fmnet.report.drawing import plain
from fmnet.signature.regions import say_place

#: What a picture of a map is called.
TITLES: dict[str, str] = {
    "thresholded": "where weights survive the test",
    "z": "weights against shuffled labels",
    "pattern": "what goes with the score (activation pattern)",
    "weights": "what the score is made of (weights)",
    "surrogate": "the linear map nearest to the network (surrogate)",
    "attribution": "what moved people's scores (integrated gradients)",
    "occlusion": "what the score loses without a region (occlusion)",
    "seed": "learned seed",
}


#: Where the largest values lie, the largest first, by ``positive`` and ``negative``.
Regions = Mapping[str, Sequence[str]]


class SignWords(NamedTuple):
    """What positive and negative values of a map mean, in words."""

    positive: str
    negative: str

    def __str__(self) -> str:
        return f"red: {self.positive}; blue: {self.negative}"


class Peak(NamedTuple):
    """The largest value of one sign, where it is in mm of the template, and how many are drawn."""

    value: float
    place: tuple[float, float, float]
    n_drawn: int


def sign_words(description: str, labels: Labels) -> SignWords:
    """Say what positive and negative values of a kind of map mean, in the study's own labels."""
    positive, negative = plain(labels.positive), plain(labels.negative)
    if description == "groupdifference":
        return SignWords(f"more in {positive}", f"more in {negative}")
    if description == "pattern":  # of all people, within groups as well
        said = "more where scores are towards"
        return SignWords(f"{said} {positive}", f"{said} {negative}")
    if description in {"attribution", "occlusion"}:
        return SignWords(
            f"sets scores of {positive} above those of {negative}",
            f"sets scores of {negative} above those of {positive}",
        )
    if description == "seed":
        return SignWords("above 0", "below 0")
    said = "a higher value speaks for"
    return SignWords(f"{said} {positive}", f"{said} {negative}")


def threshold_words(tested: Mapping[str, Any]) -> str:
    """Say what the voxels of a thresholded map have survived; `tested` is ``z`` of the facts."""
    orders = f"{tested['n_permutations']} orders of the labels"
    match tested["threshold"]:
        case "fwe":
            said = f"|z| above {tested['threshold_fwe']:.2f}, p < 0.05 family-wise over all voxels"
        case "cluster":
            said = f"clusters of |z| above {tested['cluster_z']:g}, p < 0.05 family-wise by mass"
        case _:
            said = "false discovery rate below 5 % of the voxels drawn"
    return f"Drawn: {said}; {orders}"


def top_words(threshold: float, fraction: float) -> str:
    """Say that a map is drawn where it is largest, which is no test."""
    return f"Drawn: the largest {100 * fraction:g} % by size, above {threshold:.2g}; not a test"


def peaks(signature: SignatureMap, contrast: str, threshold: float) -> dict[str, Peak]:
    """Find the largest positive and negative value that is drawn: ``positive``, ``negative``."""
    values = signature.values[signature.contrasts.index(contrast)]
    places = np.argwhere(signature.grid.mask)
    found = {}
    for name, sign in (("positive", 1), ("negative", -1)):
        best, n_drawn = int(np.argmax(sign * values)), int((sign * values > threshold).sum())
        if n_drawn:
            x, y, z = (signature.grid.affine @ [*places[best], 1])[:3]
            found[name] = Peak(float(values[best]), (float(x), float(y), float(z)), n_drawn)
    return found


def alt_text(
    signature: SignatureMap,
    contrast: str,
    threshold: float,
    title: str,
    words: SignWords,
    regions: Regions | None = None,
) -> str:
    """Say what a picture of a map shows to those who don't see it.

    `regions` names where the largest values lie; without it the part of the brain is told.
    Coordinates are told either way.
    """
    parts = []
    for name, peak in peaks(signature, contrast, threshold).items():
        is_positive = name == "positive"
        x, y, z = peak.place
        named = (regions or {}).get(name, ())[:2]
        where = " and ".join(named) or say_place(x, y, z).partition(";")[0]
        percent = 100 * peak.n_drawn / signature.grid.n_voxels
        parts.append(
            f"{'red' if is_positive else 'blue'} ({words[0] if is_positive else words[1]}) in "
            f"{percent:.2g} % of the voxels, largest in {where}: {peak.value:.3g} at "
            f"({x:.0f}, {y:.0f}, {z:.0f})"
        )
    shown = "; ".join(parts) or "no voxel exceeds the threshold"
    return plain(f"{title}. {shown[:1].upper()}{shown[1:]}.", 1000)
