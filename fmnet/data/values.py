"""What the values of an image are: background, masks, what no map has, and which statistic.

Background is found once, when a map is read, and is NaN from then on: NaN itself; 0, and in files
of integers whatever lies within half a quantisation step of it; tiny values, such as resampling
leaves, where there are far more of them than of somewhat larger ones; and a tiny number that fills
a good part of the volume. A number that fills it and isn't tiny may be data as well as none: such a
map is refused.
"""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from fmnet.data.volume import FloatArray, Volume
from fmnet.errors import Fault, VolumeError

#: No statistic or signal change is larger; damaged files and wrong data types are.
MAX_MAGNITUDE = 1e6
#: How many times the map's largest usual value a spike has. Real maps reach less than 5, BOLD
#: runs 1.3.
SPIKE_FACTOR, SPIKE_FACTOR_BOLD = 50.0, 20.0
#: Values that are larger than the largest usual one: two in a thousand, and 20 at least.
FEW_FRACTION, FEW_VOXELS = 2e-3, 20
#: Real maps repeat no value other than 0 in more than 0.2 % of their voxels. In files of few
#: different values each is about as frequent as the next one.
FILL_FRACTION, FILL_TO_NEXT = 0.05, 5
#: About how many values are looked at for such a number, and how many at first: where none of
#: those is as frequent as half of what it takes, there is none.
N_LOOKED_AT, N_AT_FIRST = 300_000, 8_000
#: What is smaller than this fraction of a map's typical value is tiny.
TINY_FRACTION = 1e-3
#: What is smaller than this fraction of a map's large values (all but one in a hundred are smaller)
#: is noise, rounding of float32 or the ringing of splines, and no data, where it is more than this
#: fraction of the voxels and not as many again are up to ten times as large. Of a statistic around
#: 0 there are ten times as many (of its square three times), and 0.9 % at most are so small.
FAINT, FAINT_FRACTION, FAINT_GROWTH = 1e-3, 0.01, 2.0
#: How many times larger or smaller than the median a scale may be. Real maps of one unit stay
#: within a factor of 3; percent signal change against its fraction, the usual mistake, is 100.
UNIT_FACTOR = 20.0
#: A mask's values are its largest one where they are nearer to it than this fraction of it.
MASK_ROUNDING = 1e-3
#: What a bundle or a listing says that doesn't know its statistic.
UNSAID_STAT = "n/a"
#: Statistics by NIfTI's intent code. Codes that aren't here say nothing of the values.
INTENTS = {
    **{2: "correlation", 3: "t", 4: "f", 5: "z", 6: "chi2", 22: "p", 23: "logp", 24: "logp"},
    **{1001: "effect", 1002: "labels", 1003: "labels"},
    **dict.fromkeys(range(7, 22), "distribution"),
    **dict.fromkeys((1004, 1005, 1006, 1007, 1008, 1009, 1010), "vectors"),
    **dict.fromkeys((2002, 2005), "surface"),
    **dict.fromkeys((2003, 2004), "colours"),
    **dict.fromkeys(range(2006, 2019), "warp"),
}
WORDS = {
    "correlation": "correlations",
    "t": "t values",
    "f": "F values",
    "z": "z values",
    "chi2": "chi-squared values",
    "distribution": "values of another distribution than z",
    "p": "p values",
    "logp": "logarithms of p values",
    "effect": "estimates (effects)",
    "labels": "labels",
    "vectors": "vectors or matrices",
    "surface": "data of a surface",
    "colours": "colours",
    "warp": "a warp or its coefficients",
}
#: Images that hold no statistic of a voxel.
NO_STATISTIC = {"labels", "vectors", "surface", "colours", "warp"}
#: No maps of signed evidence: refused unless they are asked for.
PROBABILITIES = {"p", "logp"}
#: Other names of a statistic, without hyphens, in small letters.
ALIASES = {
    "z": "zscore zstat zval zvalue zmap",
    "t": "tscore tstat tval tvalue ttest tmap spmt",
    "f": "fstat fscore fval fvalue ftest spmf",
    "chi2": "chisq chisquare chisquared",
    "p": "pval pvalue pvalues",
    "logp": "log10p neglogp neglog10p logpval log10pval",
    "correlation": "r correl corr",
    "effect": "beta cope con contrast estimate effectsize effectestimate",
    "variance": "var varcope effectvariance",
}
BY_NAME = {name: stat for stat, names in ALIASES.items() for name in (stat, *names.split())}
#: Statistics that an estimate isn't.
TESTS = {"z", "t", "f", "chi2", "correlation", *PROBABILITIES}
#: How SPM describes its test statistics: ``SPM{T_[19.0]} - contrast 1: pain``.
SPM_TEST = re.compile(r"SPM\{([TF])_")


def blank_background(values: FloatArray, half_step: float = 0.0) -> FloatArray:
    """Write NaN where an image, (X, Y, Z), has no data; infinite values stay, for `check_values`.

    `half_step` is half the distance of neighbouring values in a file of integers; 0 for real
    numbers. In a coarse file (uint8) many voxels inside the brain are written as the value nearest
    to 0: they are data where most of the voxels around them are. So are voxels of tiny values.
    """
    size = np.abs(values)
    nothing = size <= np.finfo(np.float32).tiny  # no data either: denormal numbers
    near = (size <= half_step * 1.001) & ~nothing
    known = np.isfinite(size) & ~nothing & ~near
    fill = find_fill(values[known])
    if fill is None:
        near |= known & (size < _faint_size(size[known]))
    elif _is_tiny(fill, values[known]):
        near |= known & _equals(values, fill)
    known &= ~near
    is_coarse = (
        near.any() and known.any() and size[near].max() > TINY_FRACTION * np.median(size[known])
    )
    if is_coarse:
        near &= uniform_filter(known.astype(np.float32), 3, mode="constant") < 0.5
    return np.where(nothing | near, np.float32(np.nan), values)


def find_fill(values: FloatArray) -> float | None:
    """Find the number that fills a good part of an image, (N,), as no measured value does."""
    for n in (N_AT_FIRST, N_LOOKED_AT):
        sample = values[:: max(1, len(values) // n)]
        rounded = _rounded(sample)
        keys, counts = np.unique(rounded, return_counts=True)
        if counts.max(initial=0) <= FILL_FRACTION / 2 * len(sample):
            return None
    top, second = [*np.sort(counts)[::-1][:2], 0][:2]
    if top > len(sample) / 2 or top > max(FILL_FRACTION * len(sample), FILL_TO_NEXT * second):
        return float(sample[rounded == keys[counts.argmax()]][0])
    return None


def _faint_size(size: FloatArray) -> float:
    """Find the size, of those of all values, (N,), below which they are no data; 0 if none is."""
    sample = size[:: max(1, len(size) // N_LOOKED_AT)]
    if not len(sample):
        return 0.0
    rank = int(0.99 * (len(sample) - 1))
    limit = FAINT * float(np.partition(sample, rank)[rank])
    n_faint, n_more = (np.count_nonzero(sample < limit * factor) for factor in (1, 10))
    is_much = n_faint > FAINT_FRACTION * len(sample) and n_more < FAINT_GROWTH * n_faint
    return limit if is_much else 0.0


def check_values(volume: Volume) -> None:
    """Look at the values of a map.

    Raises
    ------
    VolumeError
        If the map is empty, constant, filled with a number that isn't 0, out of range, or has a
        spike.
    """
    if infinite := int(np.isinf(volume.data).sum()):
        accepted = "finite values, and NaN or 0 where there are none"
        action = "find out where they come from (often a division by 0) and write the map again"
        raise VolumeError(Fault(volume.name, f"{infinite} infinite values", accepted, action))
    known = volume.data[np.isfinite(volume.data) & (volume.data != 0)]
    largest, usual = float(np.abs(known).max(initial=0)), largest_usual(known)
    if not known.size:
        found, action = "no value other than NaN and 0", "write the map again"
    elif SPIKE_FACTOR * usual < largest <= MAX_MAGNITUDE:
        found = _describe_spikes(volume, usual)
        action = "find out where it comes from, and write the map again, masked to the brain"
    elif known.min() == known.max():
        found = f"the constant {known[0]:g} in every voxel"
        action = "give a statistic map, not a mask or an empty model"
    elif (
        usual * SPIKE_FACTOR >= largest
        and (fill := find_fill(known)) is not None
        # a few voxels of a thresholded map may all have the value of the threshold
        and np.count_nonzero(is_fill := _equals(known, fill)) > FILL_FRACTION * volume.data.size
    ):
        fraction = float(is_fill.mean())
        found = f"the value {fill:.6g} in {fraction:.0%} of the voxels other than NaN and 0"
        action = "write NaN or 0 where the map has no data, and check that the rest isn't shifted"
    elif largest > MAX_MAGNITUDE:
        found = f"values as large as {largest:.3g}, beyond {MAX_MAGNITUDE:.0e} in magnitude"
        action = "check the map's unit and data type, and write it again, masked to the brain"
    else:
        return
    accepted = "a map with varying values inside the mask"
    raise VolumeError(Fault(volume.name, found, accepted, action))


def largest_usual(values: NDArray[np.floating]) -> float:
    """Largest magnitude of values, (N,), but for the few largest, which may be spikes.

    Where there are hardly more than a few at all, it is the largest of them.
    """
    if not len(values):
        return 0.0
    few = max(FEW_VOXELS, int(FEW_FRACTION * len(values))) if len(values) > 2 * FEW_VOXELS else 0
    return float(np.partition(np.abs(values), -few - 1)[-few - 1])


def image_scale(values: FloatArray) -> NDArray[np.float64]:
    """Root mean square over known voxels: (..., V) to (...)."""
    # The square of a large float32 is infinite.
    return np.asarray(np.sqrt(np.nanmean(np.square(values, dtype=np.float64), axis=-1)))


def has_usual_unit(scales: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which scales, (N, C), lie within `UNIT_FACTOR` of their channel's median."""
    median = np.median(scales, axis=0)
    return np.asarray((scales >= median / UNIT_FACTOR) & (scales <= median * UNIT_FACTOR))


def inside_mask(volume: Volume) -> NDArray[np.bool_]:
    """Tell which voxels a mask holds, (X, Y, Z): those above half of its largest value.

    Masks of one value (1, 255, 0.99998 of scaled integers) and of probabilities from 0 to 1 are
    accepted; NaN is outside.

    Raises
    ------
    VolumeError
        If it is no mask: empty, negative, a label image, or an image of other values.
    """
    values = np.nan_to_num(volume.data[0], posinf=np.inf, neginf=-np.inf)
    known = np.unique(values[values != 0])
    accepted = "a mask: 0 outside and one number inside, or probabilities from 0 to 1"
    if not len(known):
        raise VolumeError(Fault(volume.name, "no voxel inside", accepted, "give a brain mask"))
    largest = float(known[-1])
    is_binary = largest > 0 and bool((known > (1 - MASK_ROUNDING) * largest).all())
    is_probability = known[0] > 0 and largest <= 1 + MASK_ROUNDING
    if not np.isfinite(known).all() or not (is_binary or is_probability):
        some = ", ".join(f"{value:.4g}" for value in known[:5])
        found = f"{len(known)} different values other than 0 ({some}{', ...' * (len(known) > 5)})"
        raise VolumeError(Fault(volume.name, found, accepted, "give a brain mask"))
    return np.asarray(values > largest / 2)


def _rounded(values: FloatArray) -> NDArray[np.uint32]:
    """Make numbers equal that differ by less than about 1e-5 of themselves, as resampling does."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return np.asarray((bits + np.uint32(64)) & np.uint32(0xFFFFFF80))


def _equals(values: FloatArray, number: float) -> NDArray[np.bool_]:
    return np.asarray(_rounded(values) == _rounded(np.array(number, np.float32)))


def _is_tiny(fill: float, values: FloatArray) -> bool:
    """Tell whether a number is as good as 0 beside the other values of an image."""
    others = values[~_equals(values, fill)]
    if not len(others):
        return False
    if abs(fill) <= TINY_FRACTION * np.median(np.abs(others)):
        return True
    # a file of real numbers that was one of integers: its 0 is the step nearest to it
    steps = np.unique(np.append(others, np.float32(fill)))
    return len(steps) <= 2**16 and bool(abs(fill) <= 0.51 * np.diff(steps.astype(float)).min())


def _describe_spikes(volume: Volume, usual: float) -> str:
    size = np.where(np.isfinite(volume.data), np.abs(volume.data), 0)
    spikes = np.argwhere(size > SPIKE_FACTOR * usual)
    spikes = spikes[np.argsort(-size[tuple(spikes.T)], kind="stable")]
    said = []
    for index in spikes[:3]:
        x, y, z = (volume.affine @ [*index[1:], 1])[:3]
        voxel = ", ".join(map(str, index[1:]))
        value = volume.data[tuple(index)]
        said.append(f"{value:.6g} at voxel ({voxel}), which is ({x:.4g}, {y:.4g}, {z:.4g}) mm")
    more = f" and {len(spikes) - 3} more" if len(spikes) > 3 else ""
    return f"a spike: {'; '.join(said)}{more}, where other values reach {usual:.3g}"


def header_stat(header: Any) -> str:
    """Read off nibabel's header what the values are, see `INTENTS`; empty if it doesn't say."""
    fields = header.keys()
    code = int(header["intent_code"]) if "intent_code" in fields else 0
    if code in INTENTS:
        return INTENTS[code]
    described = bytes(header["descrip"].item()) if "descrip" in fields else b""
    match = SPM_TEST.match(described.decode("latin-1"))
    return match[1].lower() if match else ""


def name_stat(path: Path) -> str:
    """Read the entity ``stat`` off a map's name; empty where unsaid."""
    match = re.search(r"(?:^|_)stat-([^-_.]+)", path.name)
    return match[1] if match else ""


def same_stat(one: str, other: str) -> bool:
    """Tell whether two names, of bundles, listings or files, mean one statistic."""
    return canonical(one) == canonical(other)


def canonical(name: str) -> str:
    """Name a statistic as `INTENTS` does; names that aren't known stay, in small letters."""
    return BY_NAME.get(name.lower(), name.lower())


def stat_fault(stat: str, wanted: str, where: str) -> Fault | None:
    """Describe a map whose header says that its values are something else than what is wanted.

    `stat` is what the header says, see `header_stat`; `wanted` the statistic of the bundle, the
    listing or the map's name, empty or ``n/a`` if unsaid.
    """
    wanted = "" if wanted == UNSAID_STAT else wanted
    asked = canonical(wanted)
    accepted = f"'{wanted}'" if wanted else "a map of a statistic or effect"
    if stat in NO_STATISTIC:
        action = "give the statistic map"
    elif stat in PROBABILITIES and asked != stat:
        action = "give the map of the statistic itself, which has a sign"
    elif (
        stat == asked
        or not stat
        or not wanted
        or asked not in BY_NAME.values()
        or (stat == "effect" and asked not in TESTS)
    ):
        return None
    else:
        action = "give that statistic's maps, or correct the intent code of the header"
    found = f"a map whose header says {WORDS[stat]} (intent code or description)"
    return Fault(where, found, accepted, action)


def p_value_fault(values: NDArray[np.floating], wanted: str, where: str) -> Fault | None:
    """Describe a map that, by its values, holds p values where a statistic with a sign is wanted.

    `values` are NaN or 0 where it has no data.
    """
    known = values[np.isfinite(values) & (values != 0)]
    is_signed = canonical(wanted) in {"z", "t"}
    if not is_signed or not known.size or known.min() < 0 or known.max() > 1:
        return None
    found = "values from 0 to 1 alone, as p values and probabilities have"
    return Fault(where, found, f"'{wanted}', with a sign", "give the map of the statistic itself")


def usual_stat(stats: Iterable[str], listed: str) -> str:
    """Say what the maps of a listing hold: as listed, or what most headers and names say.

    Where nobody listed it, what is no map of signed evidence doesn't count.
    """
    if listed != UNSAID_STAT:
        return listed
    said = Counter(stat for stat in stats if stat not in {"", *PROBABILITIES, *NO_STATISTIC})
    return said.most_common(1)[0][0] if said else UNSAID_STAT
