"""BOLD runs in a few words, for the terminal and the page."""

from collections.abc import Mapping, Sequence
from typing import Any

from fmnet.inference.preparation import SERIES

MAP_NAMES = {"alff": "ALFF", "falff": "fALFF", "reho": "ReHo", "temporal_sd": "temporal SD"}


def map_words(maps: Sequence[str]) -> str:
    """Name maps as a paper does, from what ``cohort.maps`` asked for."""
    return ", ".join(map(_map_name, maps))


def input_line(bold: Mapping[str, Any]) -> str:
    """Say in one line what the network reads.

    Parameters
    ----------
    bold : dict
        From `fmnet.report.runs.describe_runs`.
    """
    task = f" (task {bold['task']})" if bold["task"] else ""
    if bold["reads"] != SERIES:
        return f"maps of cleaned BOLD runs{task}: {map_words(bold['maps'])}"
    return f"cleaned BOLD series{task}; baselines of maps read {map_words(bold['maps'])}"


def motion_words(bold: Mapping[str, Any]) -> str:
    """Say how much each group moved: ``0.15 mm (SD 0.06) in FM and ...``; empty if not known."""
    said = []
    for group in reversed(bold["groups"]):
        if group["mean_fd_mm"] is not None:
            said.append(f"{mean_sd(group['mean_fd_mm'], 2, ' mm')} in {group['label']}")
    return " and ".join(said)


def volumes_words(spread: Sequence[float] | None) -> str:
    """Write a median with its range: ``148 (120 to 150)``, or one number where all are alike."""
    if spread is None:
        return "-"
    middle, low, high = (f"{value:g}" for value in spread)
    return middle if low == high else f"{middle} ({low} to {high})"


def runs_line(bold: Mapping[str, Any]) -> str:
    """Sum up runs for the terminal."""
    both, moved = bold["all"], motion_words(bold)
    return (
        f"{count(both['n_runs'], 'BOLD run')}, T_R {bold['t_r']:g} s; volumes left of a scan: "
        f"{volumes_words(both['volumes'])}"
        + (f"; mean framewise displacement {moved}" if moved else "")
    )


def mean_sd(pair: Sequence[float | None] | None, digits: int, unit: str = "") -> str:
    """Write a mean with its SD: ``0.15 mm (SD 0.06)``."""
    if pair is None:
        return "-"
    mean, sd = pair
    return f"{mean:.{digits}f}{unit}" + (f" (SD {sd:.{digits}f})" if sd is not None else "")


def count(n: int, noun: str) -> str:
    """Write a number with its noun: ``1 run``, ``2 runs``."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _map_name(spec: str) -> str:
    kind, _, rest = spec.partition(":")
    if not rest:
        return MAP_NAMES.get(spec, spec)
    name, _, value = rest.partition("=")
    if kind == "seed":
        return f"connectivity with seed {name} at {value.replace(',', ', ')} mm"
    return f"z of contrast {name} = {value}"
