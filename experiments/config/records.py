"""Configs as config.json holds them, and back; the types of their values; options by name."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from data_pipelines.home import expand_home
from experiments.config.training import TrainConfig, model_class
from oddn_jax.config import without_former_options
from oddn_jax.fields import check_fields, field_types, shorten

# Options that older runs do not have, with the value that says what those did.
LATER_OPTIONS = {
    "model.pyramid": 0,
    "model.background_slot": 0.0,
    "system": "ODDN",
    "optimizer": "adam",
    "fresh": (),
    "frozen": (),
    "model.num_tracking_steps": 0,
    "model.share_noise": False,
    "model.distiller_init": "random",
    "model.kernel_gain": 1.0,
    "model.prediction_latents": "sample",
    "resolutions": ((1.0, 1),),
    "choices_per_question": 0,
    "rollout_frames": 0,
    "taught_by": "",
    "model.slot_hidden_size": 0,
}
# Likewise; but these have always been part of a run's fingerprint, or never.
OLDEST_RUNS = {"data.valid_split": "validation", "figures_every": 10_000}

FOLDERS = frozenset(
    "workdir init_from taught_by data_dir features_of features_dir".split()
)  # may begin with ~


def to_json(config: TrainConfig) -> dict:
    """The config as nested dictionaries that `json` can write."""
    return dataclasses.asdict(config)


def from_json(values: dict) -> TrainConfig:
    """The inverse of `to_json`.

    Raises:
        ValueError: an option is missing, unknown to this version or of another type than it should be.
    """
    system, model = values.get("system", "ODDN"), values.get("model")
    if not isinstance(system, str):
        raise ValueError(f"config.system={shorten(system)} must be a text")
    kind = model_class(system).Config
    if isinstance(model, dict):
        try:
            values = {**values, "model": without_former_options(kind, model)}
        except ValueError as error:
            raise ValueError(f"config.model.{error}") from None
    return build(TrainConfig, values, model=kind)


def build(record: type, values: Mapping[str, Any], path: str = "config", **known_types: type) -> Any:
    """Makes a config of what JSON holds; lists were tuples.

    Args:
        record: its dataclass.
        values: its fields by name; only those that older runs do not have may be missing.
        path: what messages call it.
        known_types: of fields whose annotation does not tell.

    Raises:
        ValueError: a field is missing, unknown or of another type than it should be; names it.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds {shorten(values)}: its options by name, {{...}}, are wanted")
    types = field_types(record) | known_types
    unknown = sorted(set(values) - set(types))
    if unknown:
        name = unknown[0] if unknown[0].isidentifier() else shorten(unknown[0])
        raise ValueError(f"{path}.{name} is not an option of this version")
    given = {}
    for name, kind in types.items():
        option = f"{path}.{name}"
        if name in values:
            nested = dataclasses.is_dataclass(kind)
            given[name] = build(kind, values[name], option) if nested else _tuples(values[name])
        elif (later := option.removeprefix("config.")) in (known := LATER_OPTIONS | OLDEST_RUNS):
            given[name] = known[later]
        elif _is_ours(record):
            raise ValueError(f"{option} is missing")
    try:
        config = record(**given)
        check_fields(config)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}.{error}") from None
    return config


def _is_ours(record: type) -> bool:
    """Whether a config has all its options in every file: those of models of your own may have got more since."""
    return record.__module__.startswith("experiments.") or record.__module__.startswith("oddn_jax.")


def check_types(config: Any) -> None:
    """Raises ValueError for the first option whose value is of another type than its own, or not finite.

    It does not matter whether the command line, a config file or config.json has set it.
    """
    try:
        check_fields(config)
        if dataclasses.is_dataclass(config.model):
            check_fields(config.model, "model.")
    except ValueError as error:
        raise ValueError(f"config.{error}") from None


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
