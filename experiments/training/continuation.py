"""How a fine-tuning goes on from a pre-training run: its parameters, its model's options, its data."""

import dataclasses
import pathlib
from collections.abc import Collection
from typing import Any

import oddn_jax
from experiments.config import TrainConfig
from experiments.configs import clevrer
from experiments.runs import checkpoints, run_folder
from experiments.runs.logs import say

# Model options that change neither the parameters nor what the model infers and predicts: how it is computed may be
# overridden, what training predicts is the stage's own.
FREE = ("compute_dtype", "remat", "unroll")
STAGE = ("student_forcing_depth", "long_range_steps")


def continue_pretraining(config: TrainConfig, overridden: Collection[str] = ()) -> TrainConfig:
    """The config with the model's options and the data of the run in `config.init_from`.

    An exported file knows its model's options but not its data: those stay as `config` has them.

    Args:
        overridden: options that were asked for by name, such as "data.data_dir": these stay as `config` has them.

    Raises:
        FileNotFoundError: there is no such run; says which command makes it.
        ValueError: no run is named, or an override contradicts its model.
    """
    source = config.init_from
    if source is None:
        raise ValueError("config.init_from is not set: name a run folder or an exported file to go on from")
    if source.endswith(".safetensors"):
        loaded = oddn_jax.load(source)[0]
        system, model, data = oddn_jax.model_name(type(loaded)), loaded.config, config.data
    elif pathlib.Path(source, "config.json").exists():
        pretraining = run_folder.load_config(source)
        system, model, data = pretraining.system, pretraining.model, pretraining.data
        done = max(checkpoints.saved_steps(source), default=0)
        if done < pretraining.num_steps:
            say(f"WARNING: {source} is not finished, it holds {done} of {pretraining.num_steps} steps")
    else:
        raise FileNotFoundError(
            f"no pre-training run {source}: make it with `{_pretraining_command(source)}`"
        )

    asked = _asked_for(config.model, "model.", overridden)
    for option, wanted in asked.items():
        held = getattr(model, option, None)
        if wanted != held and option not in FREE + STAGE:
            raise ValueError(
                f"--config.model.{option}={wanted} contradicts {source}, whose model has {held}: leave it out, "
                "or pre-train such a model"
            )
    stage = {option: getattr(config.model, option) for option in STAGE if hasattr(model, option)}
    before, model = model, dataclasses.replace(model, **(stage | asked))
    asked = _asked_for(config.data, "data.", overridden)
    data = dataclasses.replace(data, **{"clips": config.data.clips, **asked})
    for option in (field.name for field in dataclasses.fields(model)):
        if getattr(model, option) != getattr(config.model, option, None):
            say(f"config.model.{option} is {getattr(model, option)!r}, as in {source}")
        elif getattr(model, option) != getattr(before, option):
            say(
                f"config.model.{option} is {getattr(model, option)!r}, in {source} it was {getattr(before, option)!r}"
            )
    return dataclasses.replace(config, system=system, model=model, data=data)


def _asked_for(options: Any, prefix: str, overridden: Collection[str]) -> dict[str, Any]:
    names = [name.removeprefix(prefix) for name in overridden if name.startswith(prefix)]
    return {name: getattr(options, name) for name in names}


def _pretraining_command(source: str) -> str:
    command = "python -m experiments.clevrer_pretrain"
    if source == clevrer.get_config().workdir:
        return command
    variant = pathlib.PurePath(source).name.replace("-", ",")  # as clevrer.get_config names its folders
    try:
        if clevrer.get_config(variant).workdir == source:
            return f"{command} --config=experiments/configs/clevrer.py:{variant}"
    except ValueError:
        pass  # a folder of the user's own naming
    return f"{command} --config=experiments/configs/clevrer.py:VARIANT --workdir={source}"
