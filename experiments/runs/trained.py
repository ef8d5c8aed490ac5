"""Finds a trained model: in a run folder, in an exported file, or among the bundled ones."""

import argparse
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

import oddn_jax
from data_pipelines import build
from experiments.config import DataConfig, check_data, flatten, import_named, make_model
from experiments.config import build as build_config
from experiments.runs import checkpoints, mean_frame, run_folder
from experiments.runs.logs import say
from oddn_jax.fields import field_types

DEFAULT_RUN = "runs/quickstart"
BUNDLED = "quickstart"  # taken where there is no such run
MEAN_FRAME = "mean_frame"  # the fact of an exported file
FOLDERS = (
    "workdir",
    "init_from",
    "data.data_dir",
)  # options that say something of a machine, not of a training


class Trained(NamedTuple):
    """A model, its parameters, and where they come from."""

    model: oddn_jax.VideoModel
    params: Mapping[str, Any]
    data: DataConfig | None  # what it was trained on; None where an exported file does not say
    provenance: Mapping[str, Any]  # JSON-able facts: data, step, seed, commit, ...
    name: str  # the folder or file, for messages
    mean_frame: np.ndarray | None = None  # u8[h w 3], of the training videos; None where nobody kept it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--run`, `--step` and `--export` to a program's options."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--run", metavar="WORKDIR", help=f"a run folder (default: {DEFAULT_RUN} if it is there)"
    )
    source.add_argument(
        "--export", metavar="FILE", help=f"an exported file, or the name of a bundled model ({BUNDLED})"
    )
    add_import_argument(parser)
    parser.add_argument("--step", type=int, help="which checkpoint of the run (default: the latest)")


def add_import_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--import`: reading a file runs no code, so that a model that is not ours must be imported by name."""
    parser.add_argument(
        "--import",
        metavar="MODULE",
        type=_import,
        help="the module that defines the model of an exported file, where it is none of ours",
    )


def _import(module: str) -> str:
    try:
        import_named(module)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return module


def add_data_arguments(
    parser: argparse.ArgumentParser, default_split: str = "the one that training validated on"
) -> None:
    """Adds `--data`, `--data_dir` and `--split` to a program's options, the last with words for what it is without."""
    parser.add_argument("--data", metavar="NAME/CONFIG", help="a data set (default: the model's own)")
    parser.add_argument("--data_dir", help="where data sets lie (default: the run's, or data)")
    parser.add_argument("--split", help=f"(default: {default_split})")


def open_trained(run: str | None = None, export: str | None = None, step: int | None = None) -> Trained:
    """Opens the model of a run folder or of an exported file.

    When neither is named, that of the quickstart's run, or the bundled one where nothing has been trained yet.

    Args:
        step: which checkpoint of the run; None takes the latest.

    Raises:
        FileNotFoundError: there is no such run, checkpoint or file; says which command makes it.
        ValueError: it is damaged, or the options exclude each other.
    """
    if export is not None:
        if run is not None or step is not None:
            raise ValueError("--export excludes --run and --step: name one model")
        return _of_file(export)
    if run is None and not os.path.isdir(DEFAULT_RUN):
        if step is not None:
            raise FileNotFoundError(
                f"--step={step}: there is no run {DEFAULT_RUN}; make it with `python -m experiments.clevrer_pretrain`, "
                "or name another with --run=WORKDIR"
            )
        say(f"no run {DEFAULT_RUN}: taking the bundled model {BUNDLED}")
        return _of_file(BUNDLED)
    return _of_run(run or DEFAULT_RUN, step)


def open_named(name: str) -> Trained:
    """Opens a run folder, an exported file or a bundled model; raises as `open_trained`."""
    return open_trained(run=name) if os.path.isdir(name) else open_trained(export=name)


def add_model_argument(parser: argparse.ArgumentParser, default: str = BUNDLED) -> None:
    """Adds `--model`, for `open_named`, and `--import` to a program's options."""
    parser.add_argument(
        "--model",
        default=default,
        help="a run folder, an exported file, or the name of a bundled model (default: %(default)s, bundled)",
    )
    add_import_argument(parser)


def ask_with(found: Trained, changes: Sequence[str]) -> Trained:
    """The same parameters with other options of the model than they were trained with.

    Args:
        changes: options of its config, each "NAME=VALUE", the value as JSON has it or a string.

    Returns:
        The model, whose provenance holds the changes as "asked_with" and no scores of the model before.

    Raises:
        ValueError: there is no such option, its value cannot be, or other parameters would be wanted.
    """
    if not changes:
        return found
    values = dict(change.partition("=")[::2] for change in changes)
    try:
        kinds = field_types(type(found.model.config))
        values = {name: _json_or_text(value) for name, value in values.items()}
        values = {
            name: float(value) if kinds.get(name) is float and type(value) is int else value
            for name, value in values.items()
        }
        config = build_config(
            type(found.model.config), dataclasses.asdict(found.model.config) | values, "model"
        )
        if getattr(config, "compute_dtype", None) == "float64" and not jax.config.jax_enable_x64:
            raise ValueError("compute_dtype float64 needs the environment variable JAX_ENABLE_X64=1")
        model = found.model.clone(config=config)
        check_shapes(found.params, jax.eval_shape(lambda: model.initialize(jax.random.key(0))))
    except ValueError as error:
        raise ValueError(f"--set {' '.join(changes)}: {error}") from None
    provenance = {name: value for name, value in found.provenance.items() if name != "metrics"}
    before = provenance.get("asked_with")  # other programs may mean something else by that name
    provenance["asked_with"] = (before if isinstance(before, dict) else {}) | values
    return found._replace(model=model, provenance=provenance)


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _of_run(run: str, step: int | None) -> Trained:
    config = run_folder.load_config(run)
    model, params = make_model(config), checkpoints.load_params(run, step)
    try:
        check_data(config.data)
        check_shapes(params, jax.eval_shape(lambda: model.initialize(jax.random.key(0))))
    except ValueError as error:
        raise ValueError(f"{run}: config.json is not that of its checkpoints: {error}") from None
    versions = run_folder.load_versions(run)
    provenance = {
        "data": dataclasses.asdict(config.data),
        "simulated": config.data.name.startswith("simulated"),
        "step": checkpoints.saved_steps(run)[-1] if step is None else step,
        "seed": config.seed,
        **{name: versions.get(name) for name in ("commit", "devices", "packages")},
        "stages": stages(run, step),
    }
    return Trained(model, params, config.data, provenance, run, mean_frame.read(run))


def check_shapes(params: Mapping[str, Any], shapes: Mapping[str, Any]) -> None:
    """Raises ValueError for the first parameter whose shape is not the one that a model wants."""
    held, wanted = (
        {jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape for path, leaf in leaves}
        for leaves in map(jax.tree_util.tree_leaves_with_path, (params, shapes))
    )
    for name in sorted(held.keys() | wanted.keys()):
        if held.get(name) != wanted.get(name):
            raise ValueError(f"{name} has shape {held.get(name)}, the model wants {wanted.get(name)}")


def stages(run: str, step: int | None = None, later: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """How a run's parameters came about, from the first run that they went through to this one.

    Args:
        later: folders of the runs that came after it.

    Returns:
        For each, the steps done and the options of the training, without folders of the machine. A file, or a folder
        that is no longer the run that it was, is one entry to begin with, {"file": its name}.
    """
    config = run_folder.load_config(run)
    before: list[dict[str, Any]] = []
    if config.init_from is not None:
        before = _earlier(config.init_from, (*later, os.path.realpath(run)))
    steps = checkpoints.saved_steps(run)[-1] if step is None else step
    options = {name: value for name, value in flatten(config).items() if name not in FOLDERS}
    return [*before, {"steps": steps, "options": options}]


def _earlier(source: str, later: tuple[str, ...]) -> list[dict[str, Any]]:
    """The stages of what a run began with. It has its parameters, whatever has become of that folder since: emptied,
    damaged, or taken by a run that came later, this one itself.
    """
    if os.path.isdir(source) and os.path.realpath(source) not in later and checkpoints.saved_steps(source):
        try:
            return stages(source, later=later)
        except (OSError, ValueError):
            pass
    return [{"file": os.path.basename(os.path.normpath(source))}]


def _of_file(path: str) -> Trained:
    model, params = oddn_jax.load(path)
    if not isinstance(model, oddn_jax.VideoModel):
        raise ValueError(f"{path} holds {type(model).__name__}, which is no model of videos")
    provenance = dict(oddn_jax.read_provenance(path))
    frame = mean_frame.of_text(provenance.pop(MEAN_FRAME, None))
    try:
        data = build_config(DataConfig, provenance["data"], "data")
        check_data(data)
    except (KeyError, ValueError):
        data = None  # saved by another program than export_params
    return Trained(model, params, data, provenance, path, frame)


def portable_provenance(found: Trained) -> dict[str, Any]:
    """The facts that go into an exported file: the provenance, and the mean training frame where the model has it."""
    frame = {} if found.mean_frame is None else {MEAN_FRAME: mean_frame.to_text(found.mean_frame)}
    return dict(found.provenance) | frame


def choose_data(found: Trained, options: argparse.Namespace) -> DataConfig:
    """The data that the options of `add_data_arguments` name, or the model's own where they are silent.

    Raises:
        ValueError: there is no such data set, or none is named anywhere.
    """
    if options.data is None and found.data is None:
        raise ValueError(
            f"{found.name} does not say what it was trained on: name data with --data=NAME/CONFIG"
        )
    data = found.data or DataConfig()
    if options.data is not None:
        name, _, config = options.data.partition("/")
        default = build.make_config(name)  # raises for a name that no builder has
        data = dataclasses.replace(data, name=name, config=config or default.name)
    return dataclasses.replace(data, data_dir=options.data_dir or data.data_dir)
