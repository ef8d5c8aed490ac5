"""Block towers that the simulator renders straight to the size and stride at which they are stored."""

import dataclasses
import functools
from pathlib import Path

import tensorflow_datasets as tfds

from data_pipelines import simulator
from data_pipelines.features import tower_features
from data_pipelines.simulated_block_towers.render import FIRST_INDEX, render_sample
from data_pipelines.video_builder import Tasks, VideoBuilder, option

# Two or three large blocks in a square picture, for runs of a few minutes on a CPU. Source: our choice.
QUICKSTART = dataclasses.replace(
    simulator.TOWERS,
    num_blocks=(2, 3),
    camera_distance=3.4,
    camera_elevation=20.0,
    camera_target=(0.0, 0.0, 0.42),
    camera_jitter=0.05,
    largest_offset=(0.4, 2.0),
    floor_radius=1.0,
)
TOWERS = {"towers": simulator.TOWERS, "quickstart": QUICKSTART}


@dataclasses.dataclass
class SimulatedBlockTowersConfig(tfds.core.BuilderConfig):
    """What is simulated and how it is stored."""

    towers: str = option("towers", "towers or quickstart")
    height: int = option(64, "rows of a frame, in pixels")
    width: int = option(64, "columns of a frame, in pixels")
    stride: int = option(1, "stored frame t is source frame t * stride (25 a second)")
    num_frames: int = option(0, "stored frames of a video, 0 for all that a tower has")
    num_train: int = option(393, "videos")
    num_test: int = option(100, "videos")
    seed: int = option(0, "another seed, other towers")
    supersampling: int = option(3, "rays per pixel and axis")

    def __post_init__(self):
        if self.towers not in TOWERS:
            raise ValueError(f"towers must be one of {', '.join(TOWERS)}, not {self.towers!r}")
        for field in ("height", "width", "stride", "num_train", "num_test", "supersampling"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be at least 1, not {getattr(self, field)}")
        if max(self.num_train, self.num_test) > FIRST_INDEX["test"]:
            raise ValueError(f"a split holds at most {FIRST_INDEX['test']} videos")
        if self.num_frames < 0 or self.seed < 0:
            raise ValueError("num_frames and seed must be at least 0")
        available = TOWERS[self.towers].num_frames
        if (self.num_frames - 1) * self.stride >= available:
            raise ValueError(
                f"{self.num_frames} frames at stride {self.stride} span more than the {available} frames of a tower"
            )

    @property
    def source_stride(self) -> int:
        return self.stride


class Builder(VideoBuilder):
    """Videos, exact masks, blocks, trajectories, positions in the image and whether the tower falls."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = None
    BUILDER_CONFIGS = [  # noqa: RUF012, TFDS's own convention
        SimulatedBlockTowersConfig(
            name="quickstart",
            description="Two or three large blocks in short small clips: rendered in seconds, learned in minutes.",
            towers="quickstart",
            height=32,
            width=32,
            stride=4,
            num_frames=12,
            num_train=256,
            num_test=64,
        ),
        SimulatedBlockTowersConfig(
            name="64x64", description="As block_towers/64x64, as many videos as the paper has real ones."
        ),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        return self.dataset_info_from_configs(
            features=tower_features(config.height, config.width), disable_shuffling=True
        )

    def _tasks(self, raw_dir: Path | None) -> Tasks:
        config = self.builder_config
        return {
            split: [
                functools.partial(
                    render_sample,
                    TOWERS[config.towers],
                    config.seed,
                    FIRST_INDEX[split] + position,
                    config.height,
                    config.width,
                    config.stride,
                    config.num_frames or None,
                    config.supersampling,
                )
                for position in range(number)
            ]
            for split, number in (("train", config.num_train), ("test", config.num_test))
        }

    @classmethod
    def simulated_card(cls, config: tfds.core.BuilderConfig) -> dict:
        fields = [field.name for field in dataclasses.fields(config) if "help" in field.metadata]
        options = {name: getattr(config, name) for name in fields}
        return simulator.simulator_card(TOWERS[config.towers], **options)
