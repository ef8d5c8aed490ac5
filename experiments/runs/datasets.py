"""Finds the data set of a run; simulates it where that needs nothing from outside."""

import pathlib
from collections.abc import Collection

from data_pipelines import build, clips, loaders
from data_pipelines.datasets import build_command, read_index
from experiments.config import DataConfig, TrainConfig, longest_clip
from oddn_jax import ODDNConfig


def prepare(config: TrainConfig) -> pathlib.Path:
    """The folder of a run's data set, as `find` gives it, with clips to train on and to validate with.

    Raises:
        FileNotFoundError, ValueError: as `find`, or it has no such split or clips.
    """
    data, possible = config.data, available_splits(config.data)
    for option, split in (("data", "train"), ("data.valid_split", data.valid_split)):
        if split not in possible:
            raise ValueError(f"config.{option}: {_no_split(data, split, possible)}")
    path = find(data, config.model, ["train", data.valid_split])
    for split in ("train", data.valid_split):
        if num_videos(config, path, split) == 0:
            summary = loaders.dataset_summary(path, split)
            collision = " with a collision from their third frame on" if data.clips == "collision" else ""
            raise ValueError(
                f"{path} ({split}) holds {summary.num_frames} frames a video, every {summary.source_stride}. source "
                f"frame: too few for clips of {longest_clip(config)} frames{collision} at config.data.stride "
                f"{data.stride}"
            )
    return path


def find(data: DataConfig, model: ODDNConfig, splits: Collection[str]) -> pathlib.Path:
    """The folder of a data set for a model. Splits that are simulated and missing are built first, and kept.

    Raises:
        FileNotFoundError: the data set, or a split of it, needs raw videos; says which command builds it.
        ValueError: there is no such data set or split, or its images do not suit the model.
    """
    path = build.dataset_path(data.name, data.config, data.data_dir)
    present, size = build.built_splits(path), (model.image_height, model.image_width)
    possible = available_splits(data)
    impossible = [split for split in splits if split not in possible]
    if impossible:
        raise ValueError(_no_split(data, impossible[0], possible))
    if not set(splits) <= set(present):
        made = build.make_config(data.name, data.config)
        if (made.height, made.width) != size:  # known before the hours that making it may take
            raise ValueError(
                f"{data.name}/{data.config} would be simulated with images of {made.height}x{made.width}, the model "
                f"sees {size[0]}x{size[1]}: make it with `python -m data_pipelines.build {data.name}/{data.config} "
                f"--height={size[0]} --width={size[1]} --data_dir={data.data_dir}` and use the name it gets"
            )
        path = build.build(data.name, data.config, data.data_dir, splits=splits).path
    build.verify(data.name, data.config, data.data_dir)
    summary = loaders.dataset_summary(path)
    if (summary.height, summary.width) != size:
        raise ValueError(
            f"{path} holds images of {summary.height}x{summary.width}, the model sees {size[0]}x{size[1]} "
            "(config.model.image_height, image_width)"
        )
    return path


def find_split(data: DataConfig, model: ODDNConfig, wanted: str | None) -> tuple[pathlib.Path, str]:
    """The folder of a data set, as `find`, and the split that was asked for, or else the one to validate on.

    Raises:
        FileNotFoundError, ValueError: as `find`, or there is no such split.
    """
    splits = available_splits(data)
    if wanted is not None and wanted not in splits:
        raise ValueError(f"--split={wanted}: {_no_split(data, wanted, splits)}")
    usual = (data.valid_split, "validation", "test", "train")
    split = wanted or next(name for name in usual if name in splits)
    return find(data, model, [split]), split


def available_splits(data: DataConfig) -> tuple[str, ...]:
    """The splits that a data set has or, where it is simulated, can have.

    Raises:
        FileNotFoundError: it is missing and needs raw videos; says which command builds it.
        ValueError: there is no such data set.
    """
    splits = build.available_splits(data.name, data.config, data.data_dir)
    if not splits:
        path = build.dataset_path(data.name, data.config, data.data_dir)
        raise FileNotFoundError(f"no data set {path}: build it with `{build_command(path)}`")
    return splits


def _no_split(data: DataConfig, split: str, possible: Collection[str]) -> str:
    path = build.dataset_path(data.name, data.config, data.data_dir)
    # What the simulator does not make cannot be had.
    remedy = "" if data.name.startswith("simulated") else f": build it with `{build_command(path, split)}`"
    return f"{path} has no split {split!r}, there are {', '.join(possible)}{remedy}"


def num_videos(config: TrainConfig, dataset_dir: pathlib.Path, split: str) -> int:
    """The videos of a split that give the run a clip at its longest; the others are left out."""
    index = read_index(dataset_dir, split)
    gap = clips.stored_gap(config.data.stride, index["source_stride"])

    def starts(video):
        if config.data.clips == "collision":
            return clips.collision_starts(
                video["collision_frames"], video["num_frames"], longest_clip(config), gap
            )
        return clips.clip_starts(video["num_frames"], longest_clip(config), gap)

    return sum(len(starts(video)) > 0 for video in index["entries"])


def validation_selection(config: TrainConfig) -> str:
    """Which clip of a video validation takes, as `loaders.evaluation_batches` calls it: of the kind trained on."""
    return "collision" if config.data.clips == "collision" else "first"


def frames_available(summary: loaders.DatasetSummary, stride: int) -> int:
    """The longest clip, in frames, that every video of a data set can give at a stride in source frames."""
    return (summary.num_frames - 1) * summary.source_stride // stride + 1
