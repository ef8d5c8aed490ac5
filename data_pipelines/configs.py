"""Which data sets there are, and what the names of their configs mean."""

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_pipelines.datasets import built_splits, check_card, dataset_path, read_card

DATASETS = (
    "clevrer",
    "simulated_clevrer",
    "block_towers",
    "simulated_block_towers",
    "clevrer_qa",
    "simulated_clevrer_qa",
    "simulated_clevrer_scenes",
)


def builder_class(name: str):
    """The TFDS builder of a data set.

    Raises:
        ValueError: there is no such data set.
        OSError: a package that writes data sets is not installed.
    """
    if name not in DATASETS:
        raise ValueError(f"there is no data set {name!r}; there are {', '.join(DATASETS)}")
    try:
        return importlib.import_module(f"data_pipelines.builders.{name}.{name}_dataset_builder").Builder
    except ModuleNotFoundError as error:
        raise OSError(
            f"building data sets needs {error.name}, which is not installed: `pip install 'oddn_jax[data]'` brings it "
            "where it exists, which is not everywhere (docs/promises.md)"
        ) from error


def make_config(name: str, base: str | None = None, **options: Any):
    """A TFDS builder config: one of the named ones, or one with other options and a name derived from them.

    Args:
        name: a data set.
        base: name of the config to start from, which may be a derived one; None is the first.
        options: fields of the data set's config class.

    Raises:
        ValueError: there is no such data set, config or option, or an option has no sensible value.
    """
    configs = {config.name: config for config in builder_class(name).BUILDER_CONFIGS}
    base = base or next(iter(configs))
    named, *changes = base.split("-")
    if named not in configs:
        raise ValueError(f"{name} has no config {base!r}; there are {', '.join(configs)}")
    config = configs[named]
    known = {field.name: getattr(config, field.name) for field in option_fields(config)}
    unknown = options.keys() - known.keys()
    if unknown:
        raise ValueError(f"{name} has no option {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    derived = {}
    for change in changes:
        key = next((key for key in known if change.startswith(f"{key}_")), None)
        try:
            derived[key] = option_type(known[key])(change.removeprefix(f"{key}_"))
        except (KeyError, ValueError):
            raise ValueError(f"{name} has no config {base!r}: {change!r} is no option of {named}") from None
    if (right := _name(named, _changed(known, derived))) != base:
        raise ValueError(f"{name} has no config {base!r}; it is called {right}")
    changed = _changed(known, derived | options)
    return dataclasses.replace(config, name=_name(named, changed), **changed) if changed else config


def _changed(known: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    return {key: options[key] for key in known if options.get(key, known[key]) != known[key]}


def _name(named: str, changed: dict[str, Any]) -> str:
    return "-".join([named, *(f"{key}_{value}" for key, value in changed.items())])


def option_fields(config) -> list[dataclasses.Field]:
    """The fields of a data set's config that say what is built, without those that every TFDS config has."""
    return [field for field in dataclasses.fields(config) if "help" in field.metadata]


def option_type(value: Any) -> Callable[[str], Any]:
    """What reads a value of the same kind from text; raises ValueError where it is none."""
    return _boolean if isinstance(value, bool) else type(value)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def available_splits(name: str, config_name: str, data_dir: str | Path) -> tuple[str, ...]:
    """The splits that a data set has or, where it is simulated, can have; training first.

    Raises:
        ValueError: there is no such data set or config.
    """
    present = built_splits(dataset_path(name, config_name, data_dir))
    return builder_class(name).simulated_splits(make_config(name, config_name)) or present


def verify(name: str, config_name: str, data_dir: str | Path) -> None:
    """Raises ValueError for a data set that another release simulated otherwise under a name that this one has too."""
    path = dataset_path(name, config_name, data_dir)
    expected = builder_class(name).simulated_card(make_config(name, config_name))
    if expected is not None:
        check_card(path, read_card(path), expected)
