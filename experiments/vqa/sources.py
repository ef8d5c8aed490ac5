"""Where the questions and features of a row of scores lie; what is missing is simulated or extracted first."""

import dataclasses
import os
import pathlib
from typing import NamedTuple

from data_pipelines import build
from experiments.config import DataConfig, VQAConfig
from experiments.runs import checkpoints, trained
from experiments.runs.trained import Trained
from experiments.vqa import extraction, feature_files, labels, rollouts


class Sources(NamedTuple):
    """Where a row's questions and features lie."""

    questions: pathlib.Path
    videos: pathlib.Path | None  # not of "blind"
    features: pathlib.Path | None  # extracted ones
    model: str | None  # that extracted them


def prepare(config: VQAConfig) -> Sources:
    """Simulates questions and videos that are simulated and missing, and extracts features that are missing.

    Raises:
        FileNotFoundError, ValueError: what is missing needs raw files or a trained model, there is no such thing, or
            the model cannot do what the config asks of it: roll out, or decode slots.
    """
    if config.features == "blind":
        return Sources(find_or_build(config.questions, config), None, None, None)
    if config.features == "truth":
        return Sources(
            *(find_or_build(name, config) for name in (config.questions, config.videos)), None, None
        )
    name, _, base = config.videos.partition("/")
    videos = build.dataset_path(name, base, config.data_dir)
    if config.features_dir:
        folder = pathlib.Path(config.features_dir)
        model = feature_files.read_manifest(folder)["extracted_with"]
        return Sources(find_or_build(config.questions, config), videos, folder, model)
    found = open_model(config.features_of)  # before anything that takes minutes
    if config.rollout_frames:
        rollouts.check_model(found)
    if config.taught_by:
        labels.check_model(found)
    asked = find_or_build(config.questions, config)
    folder = feature_files.default_folder(config.data_dir, found.name, config.videos)
    data = DataConfig(name=name, config=base, data_dir=config.data_dir)
    stride = found.data.stride if found.data else data.stride
    extraction.extract(found, dataclasses.replace(data, stride=stride), folder, splits_of(config))
    return Sources(asked, videos, folder, found.name)


def find_or_build(name: str, config: VQAConfig) -> pathlib.Path:
    """The folder of a data set NAME/CONFIG; the splits that are needed are built first if simulated and missing.

    Raises:
        FileNotFoundError, ValueError: they are missing and need raw files, or there is no such data set.
    """
    name, _, base = name.partition("/")
    return build.build(name, base, config.data_dir, splits=splits_of(config)).path


def open_model(name: str) -> Trained:
    """The model of a run folder, an exported file or a bundled name.

    Raises:
        FileNotFoundError: there is none of the three.
    """
    if os.path.isdir(name):
        return trained.open_trained(run=name)
    try:
        return trained.open_trained(export=name)
    except FileNotFoundError:
        if not os.path.isdir(os.path.join("runs", name)):
            raise FileNotFoundError(
                f"config.features_of={name} is no run folder, no exported file and no bundled model, nor is there a "
                f"run runs/{name}: train one, `python -m experiments.clevrer_pretrain` makes runs/quickstart"
            ) from None
    return trained.open_trained(run=os.path.join("runs", name))


def open_model_of(config: VQAConfig, folder: pathlib.Path) -> Trained:
    """The model that saw what a folder of features holds.

    Raises:
        FileNotFoundError, ValueError: `config.features_of` is not that model.
    """
    found, manifest = open_model(config.features_of), feature_files.read_manifest(folder)
    if checkpoints.digest(found.params) != manifest["identity"]["params_sha256"]:
        raise ValueError(
            f"{folder} holds what {manifest['extracted_with']} saw, and config.features_of={config.features_of} has "
            "other parameters: name the model that saw these slots"
        )
    return found


def splits_of(config: VQAConfig) -> list[str]:
    """To train on, to score on, and to submit, each once."""
    return list(dict.fromkeys(("train", config.valid_split, config.submission_split or config.valid_split)))
