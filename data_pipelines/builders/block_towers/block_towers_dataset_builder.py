"""The real block towers as a TFDS data set, from the strips that the user has."""

import dataclasses
import functools
from pathlib import Path

import tensorflow_datasets as tfds

from data_pipelines.builders.block_towers.raw import choose_test_videos, find_table, find_towers, read_sample
from data_pipelines.builders.records import option
from data_pipelines.builders.videos import Tasks, VideoBuilder, VideoTask
from data_pipelines.datasets import read_card
from data_pipelines.features import tower_features
from data_pipelines.seeds import check_seed


@dataclasses.dataclass
class BlockTowersConfig(tfds.core.BuilderConfig):
    """How the towers are stored and split."""

    height: int = option(64, "rows of a frame, in pixels")
    width: int = option(64, "columns of a frame, in pixels")
    stride: int = option(1, "stored frame t is frame t * stride of the strip")
    split_seed: int = option(0, "another seed, another test split")
    limit: int = option(0, "only the first so many usable videos, 0 for all")

    def __post_init__(self):
        check_seed("split_seed", self.split_seed)
        for field in ("height", "width", "stride"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be at least 1, not {getattr(self, field)}")
        if self.limit < 0:
            raise ValueError(f"limit must be at least 0, not {self.limit}")

    @property
    def source_stride(self) -> int:
        return self.stride


class Builder(VideoBuilder):
    """Videos, masks and labels of the real block towers."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = "Put the strips and real.txt below the folder, in any layout."
    BUILDER_CONFIGS = [  # noqa: RUF012, TFDS's own convention
        # Source: paper section 4.1 for the size. That the whole frame is taken is our choice: the paper names no crop.
        BlockTowersConfig(name="64x64", description="The whole frame, for prediction."),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        return self.dataset_info_from_configs(
            features=tower_features(config.height, config.width),
            homepage="https://github.com/facebookarchive/UETorch/issues/25",
            disable_shuffling=True,
        )

    def _tasks(self, raw_dir: Path | None) -> Tasks:
        config = self.builder_config
        towers, table = find_towers(raw_dir), find_table(raw_dir)
        usable = [raw.index for raw in towers if not any(problem.skipped for problem in raw.problems)]
        if config.limit:
            usable = usable[: config.limit]
            towers = [raw for raw in towers if raw.index in usable]
        test = choose_test_videos(usable, config.split_seed)
        tasks: dict[str, list[VideoTask]] = {"train": [], "test": []}
        for raw in towers:
            split = "test" if raw.index in test else "train"
            make = functools.partial(read_sample, raw, config.height, config.width, config.stride)
            tasks[split].append(VideoTask(make, (*raw.files, table)))
        return tasks

    def _card(self, raw_dir: Path | None) -> dict | None:
        # Strips that our simulator wrote must never pass for the real ones.
        return read_card(find_table(raw_dir).parent)
