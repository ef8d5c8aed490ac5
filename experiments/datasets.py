"""Finds the data set of a run; simulates it where that needs nothing from outside."""

import pathlib

from data_pipelines import build, loaders
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
    summary = loaders.dataset_summary(path)
    if (summary.height, summary.width) != (model.image_height, model.image_width):
        raise ValueError(
            f"{path} holds images of {summary.height}x{summary.width}, config.model expects "
            f"{model.image_height}x{model.image_width} (image_height, image_width)"
        )
    if longest_clip(config) > frames_available(summary, data.stride):
        raise ValueError(
            f"{path} holds {summary.num_frames} frames a video, every {summary.source_stride}. source frame: "
            f"too few for clips of {longest_clip(config)} frames at config.data.stride {data.stride}"
        )
    return path


def frames_available(summary: loaders.DatasetSummary, stride: int) -> int:
    """The longest clip, in frames, that every video of a data set can give at a stride in source frames."""
    return (summary.num_frames - 1) * summary.source_stride // stride + 1
