"""Settings of BOLD: how runs are cleaned, and which maps are made of them, by name."""

import ast
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from fmnet.errors import ConfigError, Fault
from fmnet.types import Count, Positive

Strategy = Literal[
    "none", "motion6", "motion24", "motion24_wm_csf", "motion24_wm_csf_global", "compcor"
]
Band = tuple[float | None, float | None]
#: Strategies whose cosines take slow drift out: a high-pass filter would do it again.
HAVE_COSINES = ("compcor",)
#: Maps that need nothing but their name.
MEASURES = ("temporal_sd", "alff", "falff", "reho")
ACCEPTED = f"{', '.join(MEASURES)}, seed:NAME=X,Y,Z (MNI, in mm), contrast:NAME=FORMULA"
#: What the part after "seed:" or "contrast:" has to look like.
NAMED = re.compile(r"(seed|contrast):(\w+)=(.+)", re.DOTALL)
#: No brain reaches further than this from the origin of MNI space, in mm.
FARTHEST_MM = 150.0
#: In formulas: a number, or a name; names may begin with a digit (``2back``).
NUMBER = re.compile(r"\d*\.?\d+")
WORD = re.compile(rf"{NUMBER.pattern}(?!\w)|\w+")
#: What Python's syntax tree of a formula may hold, and which operators.
NODES = (ast.Expression, ast.BinOp, ast.operator, ast.UnaryOp, ast.UAdd, ast.USub, ast.Name)
OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div)


@dataclass(frozen=True)
class CleaningSettings:
    """How confounds are taken out of runs; nothing of it is learned from the cohort.

    Parameters
    ----------
    strategy : str
        Which regressors of fMRIPrep's are taken out: ``motion6`` six motion parameters;
        ``motion24`` also their derivatives and squares; ``motion24_wm_csf`` also the means of white
        matter and CSF; ``motion24_wm_csf_global`` also the mean of the whole brain; ``compcor``
        24 motion parameters and anatomical components; ``none`` nothing but mean and drift.
    low_hz, high_hz : float or None
        Band that is kept, in Hz; None for no limit on that side.
    fd_threshold : float or None
        Volumes whose framewise displacement in mm is larger are left out; None for none.
    min_volumes : int
        Fewest volumes that may be left of a run.
    """

    strategy: Strategy = "motion24_wm_csf"
    low_hz: Positive | None = 0.01
    high_hz: Positive | None = 0.1
    fd_threshold: Positive | None = None
    min_volumes: Count = 50

    @property
    def needs_confounds(self) -> bool:
        """Tell whether runs without a confounds file can't be cleaned."""
        return self.strategy != "none" or self.fd_threshold is not None


def band_of(settings: CleaningSettings) -> Band:
    """Limits in Hz of the filter; None for no limit on that side."""
    low = None if settings.strategy in HAVE_COSINES else settings.low_hz
    return low, settings.high_hz


@dataclass(frozen=True)
class MapName:
    """A map as configurations and bundles ask for it.

    Parameters
    ----------
    name : str
        Of the channel: ``alff``, ``seed-pcc``, ``contrast-faces``.
    kind : {"measure", "seed", "contrast"}
        What it is.
    own : str
        Its name within the kind.
    centre : tuple of float
        Of a seed, in mm of MNI space.
    weights : tuple of (str, float)
        Of a contrast: conditions and their weights.
    """

    name: str
    kind: Literal["measure", "seed", "contrast"]
    own: str
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    weights: tuple[tuple[str, float], ...] = ()


def parse_map_names(names: Sequence[str], key: str = "cohort.maps") -> tuple[MapName, ...]:
    """Read names of maps.

    Parameters
    ----------
    names : sequence of str
        ``temporal_sd``, ``alff``, ``falff``, ``reho``, ``seed:NAME=X,Y,Z`` (MNI, in mm),
        ``contrast:NAME=FORMULA`` (conditions of the events, see
        `fmnet.bold.first_level.condition_name`).
    key : str
        The setting that they come from, for messages.

    Raises
    ------
    ConfigError
        With everything that is wrong with the names.
    """
    found: list[MapName] = []
    faults = [] if names else [Fault(key, "no map", ACCEPTED, "name one map at least")]
    for name in names:
        try:
            found.append(_parse(name))
        except ValueError as error:
            faults.append(Fault(key, str(error), ACCEPTED, "correct the name of the map"))
    counts = Counter(each.name for each in found)
    if twice := [name for name, count in counts.items() if count > 1]:
        said = f"more than one map called {', '.join(map(repr, twice))}"
        faults.append(Fault(key, said, "each name once", "rename or remove all but one"))
    if faults:
        raise ConfigError(faults)
    return tuple(found)


def _parse(name: str) -> MapName:
    if name in MEASURES:
        return MapName(name, "measure", name)
    found = NAMED.fullmatch(name)
    if found is None:
        raise ValueError(f"'{name}'")
    kind, own, value = found.groups()
    if kind == "seed":
        try:
            x, y, z = map(float, value.split(","))
        except ValueError as error:
            raise ValueError(f"'{name}', without three coordinates") from error
        if not max(abs(x), abs(y), abs(z)) <= FARTHEST_MM:
            raise ValueError(f"'{name}', more than {FARTHEST_MM:g} mm from the origin")
        return MapName(f"seed-{own}", "seed", own, centre=(x, y, z))
    try:
        weights = parse_formula(value)
    except ValueError as error:
        raise ValueError(f"'{name}': the formula {error}") from error
    return MapName(f"contrast-{own}", "contrast", own, weights=tuple(weights.items()))


def parse_formula(formula: str) -> dict[str, float]:
    """Read a formula: the weight of each condition that it names.

    It is evaluated by pandas, as `nilearn.glm.contrasts.expression_to_contrast_vector` does. That
    function itself needs the columns of a design, which nobody knows before events are read, takes
    a second to import, and passes what is no weighted sum (``faces ** 2``, ``faces + 1``).

    Parameters
    ----------
    formula : str
        Names of conditions, numbers, ``+ - * /`` and parentheses.

    Raises
    ------
    ValueError
        Saying what is wrong, in words that go on after "found".
    """
    words = dict.fromkeys(word for word in WORD.findall(formula) if not NUMBER.fullmatch(word))
    columns = {word: f"name{number}" for number, word in enumerate(words)}
    text = WORD.sub(lambda word: columns.get(word[0], word[0]), formula.strip())
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"'{formula}', which is no formula") from error
    constants = {type(node.value) for node in nodes if isinstance(node, ast.Constant)}
    if constants - {int, float} or not all(
        isinstance(node, (*NODES, ast.Load, ast.Constant)) for node in nodes
    ):
        raise ValueError(f"'{formula}' with something other than names, numbers, + - * / and ()")
    n = len(words)  # all conditions are 0; each in turn is 1; all differ
    points = np.vstack([np.zeros(n), np.eye(n), np.sqrt(np.arange(n) + 2)])
    values = np.array(np.nan)
    if all(isinstance(node, OPERATORS) for node in nodes if isinstance(node, ast.operator)):
        frame = pd.DataFrame(points, columns=list(columns.values()))
        with np.errstate(all="ignore"), suppress(ArithmeticError):
            values = np.asarray(frame.eval(text, engine="python"), dtype=float)
    constant, *single, mixed = np.broadcast_to(values, len(points)).tolist()
    weights = {word: one - constant for word, one in zip(words, single, strict=True)}
    is_known = bool(np.isfinite(values).all())
    if not is_known or not np.isclose(mixed, constant + points[-1] @ [*weights.values()]):
        raise ValueError(f"'{formula}', which is no weighted sum of conditions")
    if constant:
        raise ValueError(f"'{formula}', which adds a number to conditions")
    if not any(weights.values()):
        raise ValueError(f"'{formula}', in which no condition has a weight")
    return {word: weight for word, weight in weights.items() if weight}
