"""Configs as config.json holds them, and back; options by name."""

import dataclasses

from data_pipelines.home import expand_home
from experiments.config.training import TrainConfig, model_class
from oddn_jax.config import without_former_options

# Options that older runs do not have, with the value that says what those did.
LATER_OPTIONS = {
    "model.pyramid": 0,
    "model.background_slot": 0.0,
    "system": "ODDN",
    "optimizer": "adam",
    "fresh": (),
    "frozen": (),
    "model.share_noise": False,
    "model.distiller_init": "random",
    "model.kernel_gain": 1.0,
    "model.prediction_latents": "sample",
    "resolutions": ((1.0, 1),),
}

FOLDERS = frozenset("workdir init_from data_dir features_of features_dir".split())  # may begin with ~


def to_json(config: TrainConfig) -> dict:
    """The config as nested dictionaries that `json` can write."""
    return dataclasses.asdict(config)


def from_json(values: dict) -> TrainConfig:
    """The inverse of `to_json`. Raises ValueError on a field or a system that this version does not know."""
    kind = model_class(values.get("system", "ODDN")).Config
    try:
        model = without_former_options(kind, values.get("model", {}))
    except ValueError as error:
        raise ValueError(f"config.model.{error}") from None
    return _build(TrainConfig, {**values, "model": model}, "config", model=kind)


def _build(record: type, values: dict, path: str, **known_types: type):
    types = {entry.name: entry.type for entry in dataclasses.fields(record)} | known_types
    unknown = sorted(set(values) - set(types))
    if unknown:
        raise ValueError(f"{path}.{unknown[0]} is not an option of this version")
    return record(**{name: _convert(types[name], value, f"{path}.{name}") for name, value in values.items()})


def _convert(kind: type, value, path: str):
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, path)
    return _tuples(value) if isinstance(value, list) else value


def _tuples(value):
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value


def expand_folders(config) -> None:
    """Writes out the home folder in the options that name files or folders, `config.data`'s as well.

    Raises:
        ValueError: there is no such home folder.
    """
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if entry.name == "data":
            expand_folders(value)
        elif entry.name in FOLDERS and value:
            setattr(config, entry.name, expand_home(value))


def flatten(config, prefix: str = "") -> dict:
    """Option names with dots ("model.num_slots") and their values."""
    flat = {}
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if dataclasses.is_dataclass(value):
            flat |= flatten(value, f"{prefix}{entry.name}.")
        else:
            flat[prefix + entry.name] = value
    return flat
