"""CLEVRER as a TFDS data set, from the archives that the user has unzipped."""

import dataclasses
import functools
from pathlib import Path

import tensorflow_datasets as tfds

from data_pipelines.builders.clevrer.raw import find_videos, read_sample
from data_pipelines.builders.records import option
from data_pipelines.builders.videos import Tasks, VideoBuilder, VideoTask
from data_pipelines.datasets import read_card
from data_pipelines.features import video_features


@dataclasses.dataclass
class ClevrerConfig(tfds.core.BuilderConfig):
    """How CLEVRER is stored. The source stride is 1: every frame."""

    height: int = option(64, "rows of a frame, in pixels")
    width: int = option(64, "columns of a frame, in pixels")
    crop: bool = option(True, "take the centre square of each frame first")
    limit: int = option(0, "only the first so many videos of each split, 0 for all")
    source_stride = 1

    def __post_init__(self):
        if min(self.height, self.width) < 1 or self.limit < 0:
            raise ValueError("height and width must be at least 1, limit at least 0")


class Builder(VideoBuilder):
    """Videos, masks, objects, trajectories and collisions of CLEVRER."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = "Unzip CLEVRER's archives below the folder, in any layout."
    BUILDER_CONFIGS = [  # noqa: RUF012, TFDS's own convention
        # Source: PROVIDE's published preprocessing, which the paper follows: 320 x 320 pixels by a factor of 0.2.
        ClevrerConfig(
            name="64x64", description="The centre 320 x 320 pixels, for prediction and decomposition."
        ),
        ClevrerConfig(name="64x96", description="The whole frame, for reasoning.", width=96, crop=False),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        return self.dataset_info_from_configs(
            features=video_features(config.height, config.width),
            homepage="http://clevrer.csail.mit.edu/",
            disable_shuffling=True,
        )

    def _tasks(self, raw_dir: Path | None) -> Tasks:
        config = self.builder_config
        return {
            split: [
                VideoTask(
                    functools.partial(read_sample, raw, config.height, config.width, config.crop), raw.files
                )
                for raw in videos[: config.limit or None]
            ]
            for split, videos in find_videos(raw_dir).items()
        }

    def _card(self, raw_dir: Path | None) -> dict | None:
        # A tree in CLEVRER's format that our simulator wrote must never pass for CLEVRER.
        return read_card(raw_dir)
