"""What can be wrong with the settings of the race, before anything is read or drawn."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from benchmarks.power.contender import Contender
from benchmarks.power.summary import LINEAR
from fmnet.baselines.base import Baseline
from fmnet.errors import Fault


def unknown_names(where: str, given: Iterable[str], known: Collection[str]) -> list[Fault]:
    """Report names that stand for nothing."""
    return [
        Fault(where, f"'{name}'", ", ".join(known), "correct the name")
        for name in given
        if name not in known
    ]


def model_name_faults(names: Sequence[str]) -> list[Fault]:
    """Report names that two models have, or that no file can be named after."""
    twice = sorted({name for name in names if names.count(name) > 1})
    odd = [name for name in names if not re.fullmatch(r"[\w-]+", name)]
    accepted = "letters, digits, _ and -; each name once, among baselines as well"
    return [
        Fault("suite.contenders", found, accepted, "choose another name")
        for found in [*(f"'{name}' twice" for name in twice), *(f"'{name}'" for name in odd)]
    ]


def baseline_faults(baselines: Mapping[str, Baseline]) -> list[Fault]:
    """Report that no linear baseline takes part."""
    if set(LINEAR) & set(baselines):
        return []
    found = ", ".join(baselines) or "none"
    action = "add one of them, which the networks are compared with"
    return [Fault("suite.baselines", found, f"one of {', '.join(LINEAR)}", action)]


def preparation_faults(contenders: Mapping[str, Contender], voxel_size_mm: int) -> list[Fault]:
    """Report networks that ask for other voxels than the cohorts have."""
    wanted = (voxel_size_mm, "brain")
    return [
        Fault(
            f"suite.contenders.{name}.preparation",
            f"{one.preparation.voxel_size_mm} mm, mask {one.preparation.mask}",
            f"{voxel_size_mm} mm, mask brain: those of the cohorts",
            "set its voxel_size_mm and mask so",
        )
        for name, one in contenders.items()
        if (one.preparation.voxel_size_mm, one.preparation.mask) != wanted
    ]
