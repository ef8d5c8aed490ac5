"""Finds the data set of a run; simulates it where that needs nothing from outside."""

import pathlib

from data_pipelines import build, clips, loaders
from data_pipelines.datasets import read_index
from experiments.config import TrainConfig, longest_clip


def prepare(config: TrainConfig) -> pathlib.Path:
    """The folder of the run's data set, built first when it is simulated and missing (and kept for the next time).

    Raises:
        FileNotFoundError: the data set is missing and needs raw videos; says which command builds it.
        ValueError: its images or videos do not suit the config.
    """
    data, model = config.data, config.model
    path = build.dataset_path(data.name, data.config, data.data_dir)
    if not build.is_built(data.name, data.config, data.data_dir):
        if not data.name.startswith("simulated"):
            raise FileNotFoundError(
                f"no data set {path}: build it with `python -m data_pipelines.build {data.name}/{data.config} "
                f"--data_dir={data.data_dir} --raw_dir=FOLDER_WITH_THE_RAW_VIDEOS`"
            )
        path = build.build(data.name, data.config, data.data_dir).path
    build.verify(data.name, data.config, data.data_dir)
    summary = loaders.dataset_summary(path)
    if (summary.height, summary.width) != (model.image_height, model.image_width):
        raise ValueError(
            f"{path} holds images of {summary.height}x{summary.width}, config.model expects "
            f"{model.image_height}x{model.image_width} (image_height, image_width)"
        )
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
