"""Knobs of synthetic data: plain numbers with ranges, checked together, and a name for them all."""

import hashlib
import json
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any

from fmnet.errors import Fault

#: A number's kind, its accepted values in words, and whether one is among them.
Rule = tuple[type, str, Callable[[Any], bool]]


def knob_faults(design: Any, rules: Mapping[str, Rule]) -> list[Fault]:
    """List the knobs of a design that are of another kind or out of their range."""
    faults = (_knob_fault(name, getattr(design, name), rule) for name, rule in rules.items())
    return [fault for fault in faults if fault]


def plain_numbers(design: Any, rules: Mapping[str, Rule]) -> dict[str, Any]:
    """Take the knobs as plain values, alike for ``1`` and ``1.0``."""
    return {
        name: int(getattr(design, name)) if kind is Integral else float(getattr(design, name))
        for name, (kind, _, _) in rules.items()
    }


def digest_knobs(data_format: int, knobs: Mapping[str, Any]) -> str:
    """Hash knobs and the number of the way in which data follow from them."""
    text = json.dumps([data_format, knobs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _knob_fault(name: str, value: Any, rule: Rule) -> Fault | None:
    kind, accepted, holds = rule
    if isinstance(value, kind) and not isinstance(value, bool) and holds(value):
        return None
    return Fault(f"cohort.{name}", f"{value!r}", accepted, f"change cohort.{name}")
