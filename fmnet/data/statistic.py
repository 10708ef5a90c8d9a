"""What the values of a map are (z, t, effect, ...), as headers and names say it."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnet.data.scans import Scan
from fmnet.errors import Fault

#: What a bundle or a listing says that doesn't know its statistic.
UNSAID_STAT = "n/a"
#: Statistics by NIfTI's intent code. Codes that aren't here say nothing of the values.
INTENTS = {
    2: "correlation",
    3: "t",
    4: "f",
    5: "z",
    6: "chi2",
    **dict.fromkeys(range(7, 22), "distribution"),
    22: "p",
    23: "logp",
    24: "logp",
    1001: "effect",
    1002: "labels",
    1003: "labels",
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

    Parameters
    ----------
    stat : str
        What the header says, see `header_stat`.
    wanted : str
        The statistic of the bundle, the listing or the map's name; empty or ``n/a`` if unsaid.
    where : str
        For the message.
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

    Parameters
    ----------
    values : ndarray of float
        Of the map, NaN or 0 where it has no data.
    wanted, where : str
        As for `stat_fault`.
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


def stat_faults(
    scans: Sequence[Scan], stats: Mapping[str, Sequence[str]], listed: str
) -> list[Fault]:
    """Find maps whose header says another statistic than their listing, or than most say.

    Parameters
    ----------
    scans : sequence of Scan
        All scans of a cohort.
    stats : mapping
        What the header of each channel says, by scan id, as far as they could be read.
    listed : str
        The listing's statistic; ``n/a`` if it doesn't say.
    """
    said = [
        stat or canonical(name_stat(file))
        for scan in scans
        for file, stat in zip(scan.files, stats.get(scan.scan_id, ()), strict=False)
    ]
    usual = usual_stat(said, listed)
    faults = []
    for scan in scans:
        for file, stat in zip(scan.files, stats.get(scan.scan_id, ()), strict=False):
            where = f"{scan.scan_id} ({file})"
            named = name_stat(file)
            fault = stat_fault(stat, usual, where) or stat_fault(stat, named, where)
            if fault is None and named and listed != UNSAID_STAT and not same_stat(named, listed):
                found, action = f"a map whose name says '{named}'", "correct the table or the name"
                fault = Fault(where, found, f"'{listed}', as listed", action)
            if fault is not None:
                faults.append(replace(fault, participant_id=scan.participant_id))
    return faults
