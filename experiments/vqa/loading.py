"""Reads the questions of all splits and what is seen of their videos, and fits the model's sizes to that."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import numpy as np

from data_pipelines import clips
from experiments.config import VQAConfig
from experiments.runs.logs import say
from experiments.vqa import feature_files, features, questions, rollouts
from experiments.vqa.feature_files import Arrays
from experiments.vqa.features import VideoFeatures
from experiments.vqa.sources import Sources, open_model_of, splits_of
from experiments.vqa.training import Data


def load(
    config: VQAConfig, sources: Sources
) -> tuple[VQAConfig, dict[str, Data], features.Standardization | None]:
    """Reads all splits; the config that comes back has a model that fits what is seen of the videos.

    Raises:
        ValueError: there are questions about videos that were not looked at.
    """
    splits = splits_of(config)
    asked = [questions.read(sources.questions, split) for split in splits]
    if config.features == "blind":
        config, *data = make_blind(config, *asked)
        return config, dict(zip(splits, data)), None
    if config.features == "truth":
        seen = [features.truth(sources.videos, split) for split in splits]
    else:
        extend = make_rollout(config, sources.features) if config.rollout_frames else None
        seen = [features.extracted(sources.features, split, config.features, extend) for split in splits]
    observed = min(of_split.slots.shape[1] for of_split in seen) - config.rollout_frames
    standardize = features.Standardization.of(seen[0]._replace(slots=seen[0].slots[:, :observed]))
    seen = [of_split._replace(slots=standardize(of_split.slots)) for of_split in seen]
    num_slots = max(of_split.slots.shape[2] for of_split in seen)
    seen = [features.pad_slots(of_split, num_slots) for of_split in seen]
    fitting = (observed - 1) // config.frame_stride + 1 if config.frame_stride else observed
    num_frames = min(config.num_frames, fitting)
    if num_frames < config.num_frames:
        say(f"{num_frames} frames a video, {config.num_frames} were asked for: the videos have {observed}")
    data = [join(of_split, of_videos, split) for of_split, of_videos, split in zip(asked, seen, splits)]
    background = config.features != "truth" and feature_files.has_background(sources.features)
    fitted = fit_model(config, data[0].videos.shape[-1], num_slots, num_frames, background)
    return fitted, dict(zip(splits, data)), standardize


def make_rollout(config: VQAConfig, folder: pathlib.Path) -> Callable[[Arrays], Arrays]:
    """What appends `config.rollout_frames` to extracted slots, by the model that saw them.

    Raises:
        FileNotFoundError, ValueError: `config.features_of` is not that model, or rolls out no slots.
    """
    found, manifest = open_model_of(config, folder), feature_files.read_manifest(folder)
    gap = clips.stored_gap(manifest["identity"]["stride"], manifest["source_stride"])
    return functools.partial(rollouts.append, found, gap=gap, num_frames=config.rollout_frames)


def make_blind(config: VQAConfig, *asked: questions.Questions) -> tuple[VQAConfig, *tuple[Data, ...]]:
    """The same questions about one frame with one slot of zeros: they have to be answered by their text alone."""
    nothing = np.zeros((1, 1, 1, config.model.feature_size), np.float32)
    data = (Data(of_split, nothing, np.zeros(len(of_split.type), int)) for of_split in asked)
    blind = dataclasses.replace(config, features="blind", rollout_frames=0)
    return fit_model(blind, config.model.feature_size, 1, 1), *data


def fit_model(
    config: VQAConfig, feature_size: int, num_slots: int, num_frames: int, background_slot: bool = False
) -> VQAConfig:
    """The config with a model for so many slots of so many numbers in so many frames."""
    fitting = {"feature_size": feature_size, "num_slots": num_slots, "num_frames": num_frames}
    fitting |= {"background_slot": background_slot}
    if config.model.form == "relative":
        fitting |= {"word_size": feature_size - 2}
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **fitting))


def join(asked: questions.Questions, seen: VideoFeatures, split: str) -> Data:
    """Finds the video of each question.

    Raises:
        ValueError: one is not there.
    """
    order = np.argsort(seen.scene_index)
    places = np.searchsorted(seen.scene_index[order], asked.scene_index)
    rows = order[np.minimum(places, len(order) - 1)]
    missing = asked.scene_index[seen.scene_index[rows] != asked.scene_index]
    if len(missing):
        raise ValueError(
            f"{len(set(missing.tolist()))} videos of the {split} questions have no features, the first is scene "
            f"{missing[0]}: config.questions is about other videos than config.videos, or not all are extracted"
        )
    return Data(asked, seen.slots, rows)
