"""CLEVRER-like videos that the simulator renders straight to the size and stride at which they are stored."""

import dataclasses

import tensorflow_datasets as tfds

from data_pipelines import simulator
from data_pipelines.builders.records import option
from data_pipelines.builders.simulated_clevrer.render import render
from data_pipelines.builders.simulated_videos import SimulatedConfig, SimulatedVideoBuilder
from data_pipelines.features import video_features

FIRST_INDEX = {"train": 0, "validation": 500_000}
SCENES = {
    "clevrer": simulator.CLEVRER,
    "six_objects": simulator.SIX_OBJECTS,
    "quickstart": simulator.QUICKSTART,
    "quickstart_long": simulator.QUICKSTART_LONG,
}


@dataclasses.dataclass
class SimulatedClevrerConfig(SimulatedConfig):
    """What is simulated and how it is stored."""

    KIND = "scenes"
    CHOICES = SCENES
    FIRST_INDEX = FIRST_INDEX
    FILENAME = "video_{:05d}"

    scenes: str = option("clevrer", "clevrer, six_objects, quickstart or quickstart_long")
    height: int = option(64, "rows of a frame, in pixels")
    width: int = option(
        64, "columns of a frame, in pixels; the camera shows more at the sides when wider than high"
    )
    stride: int = option(1, "stored frame t is source frame t * stride (25 a second)")
    num_frames: int = option(0, "stored frames of a video, 0 for all that the scenes have")
    num_train: int = option(10000, "videos")
    num_validation: int = option(5000, "videos")
    seed: int = option(0, "another seed, other videos")
    supersampling: int = option(3, "rays per pixel and axis")


class Builder(SimulatedVideoBuilder):
    """Videos, exact masks, objects, trajectories, positions in the image and collisions."""

    render = staticmethod(render)
    BUILDER_CONFIGS = [  # noqa: RUF012, TFDS's own convention
        SimulatedClevrerConfig(
            name="quickstart",
            description="Few large objects in short small clips: rendered in seconds, learned in minutes.",
            scenes="quickstart",
            height=32,
            width=32,
            stride=4,
            num_train=480,
            num_validation=32,
        ),
        SimulatedClevrerConfig(
            name="quickstart_questions",
            description="As quickstart, as many as the questions of simulated_clevrer_qa/quickstart are about.",
            scenes="quickstart",
            height=32,
            width=32,
            stride=4,
            num_train=600,
            num_validation=120,
        ),
        SimulatedClevrerConfig(
            name="quickstart_long",
            description="As quickstart with 14 frames, to predict twelve: of the small budget's tables.",
            scenes="quickstart_long",
            height=32,
            width=32,
            stride=4,
            num_train=1200,
            num_validation=200,
        ),
        SimulatedClevrerConfig(name="64x64", description="As clevrer/64x64."),
        SimulatedClevrerConfig(name="64x96", description="As clevrer/64x96.", width=96),
        SimulatedClevrerConfig(
            name="64x64_six_objects",
            description="Six objects in view at once, for the paper's evaluation clips.",
            scenes="six_objects",
            num_train=1000,
            num_validation=1000,
        ),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        return self.dataset_info_from_configs(
            features=video_features(config.height, config.width), disable_shuffling=True
        )
