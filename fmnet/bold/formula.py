"""Contrasts as formulas over conditions: ``faces - houses``, ``(left + right) / 2 - rest``."""

import ast
import re

#: A number, or a name; names may begin with a digit (``2back``).
WORD = re.compile(r"\d*\.?\d+(?!\w)|\w+")

_Terms = dict[str, float]
#: Key of what doesn't depend on any condition.
_CONSTANT = ""


def condition_name(trial_type: str) -> str:
    """Turn a trial type into a name for formulas: ``Neutral - OBSERVAR`` to ``Neutral_OBSERVAR``.

    Every run of characters other than letters and digits becomes ``_``; a name of digits alone,
    which would be a number, gets ``condition_`` before it.
    """
    name = re.sub(r"[\W_]+", "_", trial_type)
    return f"condition_{name}" if name.isdigit() else name


def parse_formula(formula: str) -> dict[str, float]:
    """Read a formula: the weight of each condition that it names.

    Parameters
    ----------
    formula : str
        Names of conditions, numbers, ``+ - * /`` and parentheses.

    Raises
    ------
    ValueError
        Saying what is wrong, in words that go on after "found".
    """
    names: list[str] = []

    def stand_in(match: re.Match[str]) -> str:
        if re.fullmatch(r"\d*\.?\d+", match[0]):
            return match[0]
        names.append(match[0])
        return f"name{len(names) - 1}"

    text = WORD.sub(stand_in, formula.strip())
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"'{formula}', which is no formula") from error
    terms = _evaluate(tree, names, formula)
    weights = {name: weight for name, weight in terms.items() if name != _CONSTANT and weight}
    if terms.get(_CONSTANT):
        raise ValueError(f"'{formula}', which adds a number to conditions")
    if not weights:
        raise ValueError(f"'{formula}', in which no condition has a weight")
    return weights


def _evaluate(node: ast.expr, names: list[str], formula: str) -> _Terms:
    match node:
        case ast.Name(id=stand_in):
            return {names[int(stand_in.removeprefix("name"))]: 1.0}
        case ast.Constant(value=int() | float() as value):
            return {_CONSTANT: float(value)}
        case ast.UnaryOp(op=ast.UAdd(), operand=inner):
            return _evaluate(inner, names, formula)
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return _scale(_evaluate(inner, names, formula), -1.0)
        case ast.BinOp(left=left, op=op, right=right):
            both = _evaluate(left, names, formula), _evaluate(right, names, formula)
            return _combine(*both, op, formula)
    raise ValueError(f"'{formula}' with something other than names, numbers, + - * / and ()")


def _combine(left: _Terms, right: _Terms, op: ast.operator, formula: str) -> _Terms:
    match op:
        case ast.Add() | ast.Sub():
            signed = right if isinstance(op, ast.Add) else _scale(right, -1.0)
            return {k: left.get(k, 0.0) + signed.get(k, 0.0) for k in {**left, **signed}}
        case ast.Mult() if _is_number(right):
            return _scale(left, right[_CONSTANT])
        case ast.Mult() if _is_number(left):
            return _scale(right, left[_CONSTANT])
        case ast.Div() if _is_number(right) and right[_CONSTANT]:
            return _scale(left, 1 / right[_CONSTANT])
    raise ValueError(f"'{formula}', which is no weighted sum of conditions")


def _is_number(terms: _Terms) -> bool:
    return set(terms) == {_CONSTANT}


def _scale(terms: _Terms, by: float) -> _Terms:
    return {name: weight * by for name, weight in terms.items()}
