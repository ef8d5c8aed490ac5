"""Whether the values in a configuration are of the kinds that its dataclass declares: one check for all of them.

It does not matter where a value comes from: a command line, a Python file, JSON edited by hand, an exported file.
"""

import dataclasses
import math
import types
import typing
from typing import Any

# Numbers reach int32, in which JAX counts steps and shapes, or uint32, which a seed fills.
SMALLEST_INT, LARGEST_INT = -(2**31), 2**32 - 1
# A model's sizes are bounded before anything is allocated or compiled for it: a file may say anything, and the number
# of slots, refinements or frames shows in no parameter. Source: our choice. Loops are unrolled on the CPU, so that
# each slot, step or layer costs a compiler's time; published models have at most 28 layers and 24 slots. A kernel
# between two layers of 65,536 takes 16 GiB.
LARGEST_COUNT, LARGEST_SIZE = 1_000, 65_536

NAMES = {int: "an integer", float: "a number", str: "a text", bool: "True or False", tuple: "a tuple"}


def check_fields(config: Any, where: str = "") -> None:
    """Checks the type of every field of a dataclass, those of dataclasses in it, and that numbers are finite.

    An integer may stand for a float; a bool is no number. Fields of other types than bool, int, float, str, tuple, a
    dataclass, or one of these or None, are left alone.

    Args:
      config: a dataclass's instance.
      where: what stands in front of field names in messages, such as "data.".

    Raises:
      ValueError: names the first field that is of another type, and its value.
    """
    for name, kind in field_types(type(config)).items():
        check_value(getattr(config, name), kind, where + name)


def field_types(record: type) -> dict[str, Any]:
    """The declared type of each field of a dataclass; texts where what they name cannot be found."""
    try:
        hints = typing.get_type_hints(record)
    except (NameError, TypeError):
        hints = {}
    return {field.name: hints.get(field.name, field.type) for field in dataclasses.fields(record)}


def check_value(value: Any, kind: Any, name: str) -> None:
    """Checks one value against the type of its field; see `check_fields`."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        kinds = [entry for entry in typing.get_args(kind) if entry is not type(None)]
        if value is None or len(kinds) != 1:
            return
        kind = kinds[0]
    kind = typing.get_origin(kind) or kind
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, kind):
            raise ValueError(f"{name}={shorten(value)} must be a {kind.__name__}")
        check_fields(value, f"{name}.")
    elif kind in NAMES:
        # Exactly these types: NumPy's own numbers and texts cannot be written to JSON or compared as these are.
        allowed = (int, float) if kind is float else (kind,)
        if type(value) not in allowed:
            raise ValueError(f"{name}={shorten(value)} must be {NAMES[kind]}, it is a {type(value).__name__}")
        _check_number(value, name)


def _check_number(value: Any, name: str) -> None:
    """Raises ValueError where a number is not finite, or larger than any that is used; in tuples too."""
    if isinstance(value, tuple):
        for entry in value:
            if type(entry) not in (bool, int, float, str, tuple, type(None)):
                raise ValueError(
                    f"{name} holds {shorten(entry)}, a {type(entry).__name__}: take numbers, texts or tuples"
                )
            _check_number(entry, name)
    elif isinstance(value, int) and not SMALLEST_INT <= value <= LARGEST_INT:
        raise ValueError(f"{name}={shorten(value)} must lie in {SMALLEST_INT} to {LARGEST_INT}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name}={value} must be a finite number")


def check_sizes(config: Any) -> None:
    """Raises ValueError where an integer field of a model's configuration is larger than any that can be worked with.

    Counts of things (fields called `num_...`, `..._steps` or `..._depth`) reach LARGEST_COUNT, all others
    LARGEST_SIZE.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        is_count = field.name.startswith("num_") or field.name.endswith(("_steps", "_depth"))
        largest = LARGEST_COUNT if is_count else LARGEST_SIZE
        if type(value) is int and value > largest:
            raise ValueError(f"{field.name}={shorten(value)} must be at most {largest}")


def shorten(value: Any) -> str:
    """A value as messages show it, on one line and never long."""
    if type(value) is int and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"  # Python refuses to write the digits of larger ones
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
