"""Finds the data set of a run; simulates it where that needs nothing from outside."""

import pathlib

from data_pipelines import build, clips, loaders
from data_pipelines.datasets import read_index
from experiments.config import DataConfig, TrainConfig, longest_clip
from oddn_jax import ODDNConfig


def prepare(config: TrainConfig) -> pathlib.Path:
    """The folder of a run's data set, as `find` gives it, with clips to train on and to validate with.

    Raises:
        FileNotFoundError, ValueError: as `find`, or it has no such split or clips.
    """
    data = config.data
    path = find(data, config.model)
    summary = loaders.dataset_summary(path)
    for option, split in (("data", "train"), ("data.valid_split", data.valid_split)):
        if split not in summary.splits:
            raise ValueError(
                f"config.{option}: {path} has no split {split!r}, there are {', '.join(summary.splits)}"
            )
        if num_videos(config, path, split) == 0:
            collision = " with a collision from their third frame on" if data.clips == "collision" else ""
            raise ValueError(
                f"{path} ({split}) holds {summary.num_frames} frames a video, every {summary.source_stride}. source "
                f"frame: too few for clips of {longest_clip(config)} frames{collision} at config.data.stride "
                f"{data.stride}"
            )
    return path


def find(data: DataConfig, model: ODDNConfig) -> pathlib.Path:
    """The folder of a data set for a model, built first when it is simulated and missing (and kept for the next time).

    Raises:
        FileNotFoundError: the data set is missing and needs raw videos; says which command builds it.
        ValueError: there is no such data set, or its images do not suit the model.
    """
    path = build.dataset_path(data.name, data.config, data.data_dir)
    size = (model.image_height, model.image_width)
    if not build.is_built(data.name, data.config, data.data_dir):
        if not data.name.startswith("simulated"):
            raise FileNotFoundError(
                f"no data set {path}: build it with `python -m data_pipelines.build {data.name}/{data.config} "
                f"--data_dir={data.data_dir} --raw_dir=FOLDER_WITH_THE_RAW_VIDEOS`"
            )
        made = build.make_config(data.name, data.config)
        if (made.height, made.width) != size:  # known before the hours that making it may take
            raise ValueError(
                f"{data.name}/{data.config} would be simulated with images of {made.height}x{made.width}, the model "
                f"sees {size[0]}x{size[1]}: make it with `python -m data_pipelines.build {data.name}/{data.config} "
                f"--height={size[0]} --width={size[1]} --data_dir={data.data_dir}` and use the name it gets"
            )
        path = build.build(data.name, data.config, data.data_dir).path
    build.verify(data.name, data.config, data.data_dir)
    summary = loaders.dataset_summary(path)
    if (summary.height, summary.width) != size:
        raise ValueError(
            f"{path} holds images of {summary.height}x{summary.width}, the model sees {size[0]}x{size[1]} "
            "(config.model.image_height, image_width)"
        )
    return path


def choose_split(path: pathlib.Path, data: DataConfig, wanted: str | None) -> str:
    """The split that was asked for, or else the one to validate on, or what there is.

    Raises:
        ValueError: there is no such split.
    """
    splits = loaders.dataset_summary(path).splits
    if wanted is not None and wanted not in splits:
        raise ValueError(f"--split={wanted}: {path} has no such split, there are {', '.join(splits)}")
    usual = (data.valid_split, "validation", "test", "train")
    return wanted or next(name for name in usual if name in splits)


def num_videos(config: TrainConfig, dataset_dir: pathlib.Path, split: str) -> int:
    """The videos of a split that give the run a clip at its longest; the others are left out."""
    index = read_index(dataset_dir)
    gap = clips.stored_gap(config.data.stride, index["source_stride"])

    def starts(video):
        if config.data.clips == "collision":
            return clips.collision_starts(
                video["collision_frames"], video["num_frames"], longest_clip(config), gap
            )
        return clips.clip_starts(video["num_frames"], longest_clip(config), gap)

    return sum(len(starts(video)) > 0 for video in index["splits"][split])


def validation_selection(config: TrainConfig) -> str:
    """Which clip of a video validation takes, as `loaders.evaluation_batches` calls it: of the kind trained on."""
    return "collision" if config.data.clips == "collision" else "first"


def frames_available(summary: loaders.DatasetSummary, stride: int) -> int:
    """The longest clip, in frames, that every video of a data set can give at a stride in source frames."""
    return (summary.num_frames - 1) * summary.source_stride // stride + 1
