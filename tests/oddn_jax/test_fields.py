"""What a configuration holds has the declared types, and no number that cannot be worked with."""

import dataclasses
import json
from typing import Any

import pytest

from oddn_jax.baselines import IODINELinearConfig, MONetConfig, ProvideConfig, SRVPConfig
from oddn_jax.config import ODDNConfig
from oddn_jax.fields import check_fields, field_types
from oddn_jax.reasoning import ALOEConfig
from oddn_jax.records import parse_record


@dataclasses.dataclass
class Part:
    size: int = 3


@dataclasses.dataclass
class Whole:
    part: Part = dataclasses.field(default_factory=Part)
    number: int = 1
    rate: float = 1e-3
    name: str = "a"
    switch: bool = False
    pairs: tuple = ((1.0, 8),)
    source: str | None = None
    model: Any = None
    other: list = dataclasses.field(default_factory=list)


@pytest.mark.parametrize(
    "changes",
    [{}, {"rate": 1}, {"source": "runs/a"}, {"pairs": ()}, {"model": object()}, {"other": "left alone"}],
)
def test_values_of_the_declared_types_pass(changes):
    check_fields(Whole(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"number": "7"}, "number='7' must be an integer, it is a str"),
        ({"number": 7.0}, "number=7.0 must be an integer, it is a float"),
        ({"number": True}, "number=True must be an integer, it is a bool"),
        ({"number": None}, "number=None must be an integer, it is a NoneType"),
        ({"number": 10**20}, "number=100000000000000000000 must lie in -2147483648 to 4294967295"),
        ({"number": 10**10_000}, "number=an integer of 33220 bits must lie in -2147483648 to 4294967295"),
        ({"rate": float("inf")}, "rate=inf must be a finite number"),
        ({"rate": float("nan")}, "rate=nan must be a finite number"),
        ({"rate": 10**400}, "rate=an integer of 1329 bits must lie in -2147483648 to 4294967295"),
        ({"rate": "1e-3"}, "rate='1e-3' must be a number, it is a str"),
        ({"rate": True}, "rate=True must be a number, it is a bool"),
        ({"name": 3}, "name=3 must be a text, it is a int"),
        ({"name": None}, "name=None must be a text, it is a NoneType"),
        ({"switch": 0}, "switch=0 must be True or False, it is a int"),
        ({"switch": "no"}, "switch='no' must be True or False, it is a str"),
        ({"pairs": [(1.0, 8)]}, "pairs=[(1.0, 8)] must be a tuple, it is a list"),
        ({"pairs": ((float("nan"), 8),)}, "pairs=nan must be a finite number"),
        ({"pairs": ({},)}, "pairs holds {}, a dict: take numbers, texts or tuples"),
        ({"source": 3}, "source=3 must be a text, it is a int"),
        ({"part": {"size": 3}}, "part={'size': 3} must be a Part"),
        ({"part": Part(size="3")}, "part.size='3' must be an integer, it is a str"),
    ],
)
def test_other_values_are_named(changes, message):
    with pytest.raises(ValueError) as caught:
        check_fields(Whole(**changes))
    assert str(caught.value) == message


CONFIGS = (ODDNConfig, IODINELinearConfig, ProvideConfig, SRVPConfig, MONetConfig, ALOEConfig)


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_option_of_every_model_is_checked(kind):
    config = kind()
    for name, declared in field_types(kind).items():
        assert declared in (int, float, str, bool)
        before = getattr(config, name)
        wrong = {int: [2.5, "3", 10**9], float: [float("inf"), float("nan"), "1"], str: [1], bool: [1]}
        for value in wrong[declared]:
            setattr(config, name, value)
            with pytest.raises(ValueError, match=rf"^{name}=[^\n]* must "):
                config.validate()
        setattr(config, name, before)
    config.validate()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "it is nested more than 100 deep"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "it is nested more than 100 deep"),
        (json.dumps({"a": eval("[" * 100 + "]" * 100)}), "it is nested more than 100 deep"),
        ("[1, 2]", "it holds a list, not an object with names: {...}"),
        ("null", "it holds a NoneType, not an object with names: {...}"),
        ('"text"', "it holds a str, not an object with names: {...}"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": [-Infinity]}', "-Infinity is no number"),
        ('{"a": 1e999}', "1e999 is too large a number"),
        ('{"a": {"b": 1, "b": 1}}', "'b' stands there twice"),
        (b'{"a": "\xff"}', "it is no text in UTF-8"),
        ('{"a": ' + "9" * 5000 + "}", "digits"),
        ("", "Expecting value"),
        ("{", "Expecting property name"),
    ],
)
def test_what_is_no_record_says_so_in_one_line(text, message):
    with pytest.raises(ValueError) as caught:
        parse_record(text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_records_are_read():
    record = {"a": [1, 2.5, None, True, "é"], "b": {"c": {}}}
    assert parse_record(json.dumps(record)) == parse_record(json.dumps(record).encode()) == record
    assert parse_record('{"a": NaN, "b": -Infinity}', constant=str) == {"a": "NaN", "b": "-Infinity"}
    deep = {"a": eval("[" * 98 + "]" * 98)}
    assert parse_record(json.dumps(deep)) == deep
