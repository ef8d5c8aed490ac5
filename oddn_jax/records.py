"""Records as JSON text: read so that nothing is taken for something else, and every failure is one line."""

import json
import math
from collections.abc import Callable
from typing import Any

DEEPEST = 100  # levels of nesting; ours have ten at most, and Python's own functions fail at some 1,000


def refuse(constant: str) -> None:
    """Raises ValueError: what `parse_record` makes of `NaN`, `Infinity` and `-Infinity`."""
    raise ValueError(f"{constant} is no number")


def parse_record(text: str | bytes, constant: Callable[[str], Any] = refuse) -> dict[str, Any]:
    """Reads one JSON object.

    Stricter than `json.loads`, which takes NaN and infinities, and the last of several values of one name.

    Args:
      constant: what becomes of `NaN`, `Infinity` and `-Infinity`: `float` keeps them.

    Raises:
      ValueError: it is no JSON, no object, nested more than 100 deep, or names something twice; one line says which.
    """
    try:
        values = json.loads(
            text, object_pairs_hook=_without_doubles, parse_constant=constant, parse_float=_finite
        )
    except RecursionError:
        raise ValueError(f"it is nested more than {DEEPEST} deep") from None
    except MemoryError:
        raise ValueError("it does not fit into memory") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no text in UTF-8 ({error.reason} at byte {error.start})") from None
    if not isinstance(values, dict):
        raise ValueError(f"it holds a {type(values).__name__}, not an object with names: {{...}}")
    _check_depth(values)
    return values


def _check_depth(values: dict[str, Any]) -> None:
    level: list[Any] = [values]
    for _ in range(DEEPEST):
        containers = [entry.values() if isinstance(entry, dict) else entry for entry in level]
        level = [value for entry in containers for value in entry if isinstance(value, (dict, list))]
        if not level:
            return
    raise ValueError(f"it is nested more than {DEEPEST} deep")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise ValueError(f"{name[:60]!r} stands there twice")
        values[name] = value
    return values


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:60]} is too large a number")
    return value
