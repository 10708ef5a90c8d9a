"""What can be wrong with the settings of the race, before anything is read or drawn."""

import inspect
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.power.contender import Contender
from benchmarks.power.summary import CEILING, DEFAULT, LINEAR
from fmnet.baselines.base import Baseline
from fmnet.earlier import current_contender
from fmnet.errors import Fault


def unknown_names(where: str, given: Iterable[str], known: Collection[str]) -> list[Fault]:
    """Report names that stand for nothing."""
    unknown = [name for name in given if name not in known]
    actions = {
        name: f"write {now}, which it is called now"
        for name in unknown
        if (now := current_contender(name)) != name
    }
    return [
        Fault(where, f"'{name}'", ", ".join(known), actions.get(name, "correct the name"))
        for name in unknown
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


def linear_names(baselines: Mapping[str, Baseline]) -> list[str]:
    """Name the linear ones among baselines."""
    return [name for name, one in baselines.items() if one.model_kind == "linear"]


def chosen_models(
    only: Sequence[str] | None,
    contenders: Mapping[str, Contender],
    baselines: Mapping[str, Baseline],
) -> list[str]:
    """Name the models that race in the order of the tables: baselines, then networks as named."""
    named = [*baselines, *contenders] if only is None else list(only)
    wanted = {*named, *(linear_names(baselines) if LINEAR in named else [])}
    networks = [name for name in dict.fromkeys(named) if name in contenders]
    return [*(name for name in baselines if name in wanted), *networks]


def baseline_faults(baselines: Mapping[str, Baseline]) -> list[Fault]:
    """Report that no linear baseline takes part."""
    if linear_names(baselines):
        return []
    found = ", ".join(baselines) or "none"
    action = "add one of them, which the networks are compared with"
    return [Fault("suite.baselines", found, "a linear model, as linear_svm", action)]


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


def ceiling_faults(
    files: Mapping[str, str | Path], labels: Collection[str], contenders: Mapping[str, Contender]
) -> list[Fault]:
    """Report weights of a regime that isn't raced, that aren't there, or that nothing takes."""
    faults = unknown_names("suite.ceilings", files, labels)
    for name, file in files.items():
        if not Path(file).is_file():
            found = f"{file}, which is no file"
            action = "give the weights of a network trained on this regime's own prior"
            faults.append(Fault(f"suite.ceilings.{name}", found, "a file of weights", action))
    if not files:
        return faults
    if CEILING in contenders:
        found = f"weights, and a contender called {CEILING}"
        faults.append(Fault("suite.ceilings", found, "one of the two", "leave out one of them"))
    if DEFAULT not in contenders:
        accepted = f"a contender called {DEFAULT}, whose network the weights are for"
        faults.append(Fault("suite.contenders", "none called so", accepted, "add it"))
    elif "weights" not in inspect.signature(contenders[DEFAULT].build_network).parameters:
        found = "a network that takes no weights"
        where = f"suite.contenders.{DEFAULT}.build_network"
        accepted = "a network with a setting called weights"
        action = "choose another network, or leave suite.ceilings out"
        faults.append(Fault(where, found, accepted, action))
    return faults
