"""Block towers that the simulator renders straight to the size and stride at which they are stored."""

import dataclasses

import tensorflow_datasets as tfds

from data_pipelines import simulator
from data_pipelines.builders.records import option
from data_pipelines.builders.simulated_block_towers.render import render
from data_pipelines.builders.simulated_videos import SimulatedConfig, SimulatedVideoBuilder
from data_pipelines.features import tower_features

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
FIRST_INDEX = {"train": 0, "test": 500_000}
TOWERS = {"towers": simulator.TOWERS, "quickstart": QUICKSTART}


@dataclasses.dataclass
class SimulatedBlockTowersConfig(SimulatedConfig):
    """What is simulated and how it is stored."""

    KIND = "towers"
    CHOICES = TOWERS
    FIRST_INDEX = FIRST_INDEX
    FILENAME = "tower_{:05d}"

    towers: str = option("towers", "towers or quickstart")
    height: int = option(64, "rows of a frame, in pixels")
    width: int = option(64, "columns of a frame, in pixels")
    stride: int = option(1, "stored frame t is source frame t * stride (25 a second)")
    num_frames: int = option(0, "stored frames of a video, 0 for all that a tower has")
    num_train: int = option(393, "videos")
    num_test: int = option(100, "videos")
    seed: int = option(0, "another seed, other towers")
    supersampling: int = option(3, "rays per pixel and axis")


class Builder(SimulatedVideoBuilder):
    """Videos, exact masks, blocks, trajectories, positions in the image and whether the tower falls."""

    render = staticmethod(render)
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
