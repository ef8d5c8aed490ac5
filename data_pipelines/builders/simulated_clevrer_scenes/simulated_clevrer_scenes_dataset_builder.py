"""The scenes of simulated_clevrer without their pictures: what there is, where it is, and how it moves."""

import dataclasses
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_pipelines.builders.records import option
from data_pipelines.builders.simulated_clevrer.render import leave_undrawn
from data_pipelines.builders.simulated_clevrer.simulated_clevrer_dataset_builder import FIRST_INDEX, SCENES
from data_pipelines.builders.simulated_videos import SimulatedConfig, SimulatedVideoBuilder
from data_pipelines.features import scene_features


@dataclasses.dataclass
class SimulatedClevrerScenesConfig(SimulatedConfig):
    """Which scenes are simulated; those of simulated_clevrer with the same options."""

    KIND = "scenes"
    CHOICES = SCENES
    FIRST_INDEX = FIRST_INDEX
    FILENAME = "video_{:05d}"
    POSITIVE: ClassVar[tuple[str, ...]] = ("stride",)

    scenes: str = option("clevrer", "clevrer, six_objects, quickstart or quickstart_long")
    stride: int = option(1, "stored frame t is source frame t * stride (25 a second)")
    num_frames: int = option(0, "stored frames of a scene, 0 for all that the scenes have")
    num_train: int = option(10000, "scenes")
    num_validation: int = option(5000, "scenes")
    seed: int = option(0, "another seed, other scenes")


class Builder(SimulatedVideoBuilder):
    """Objects, trajectories and collisions."""

    render = staticmethod(leave_undrawn)
    BUILDER_CONFIGS = [  # noqa: RUF012, TFDS's own convention
        SimulatedClevrerScenesConfig(
            name="quickstart",
            description="Those of simulated_clevrer/quickstart_questions.",
            scenes="quickstart",
            stride=4,
            num_train=600,
            num_validation=120,
        ),
        SimulatedClevrerScenesConfig(
            name="clevrer", description="Those of simulated_clevrer/64x64 and 64x96."
        ),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(features=scene_features(), disable_shuffling=True)

    def _index(self) -> dict[str, Any]:
        return {"source_stride": self.builder_config.source_stride}  # and no size: there are no pictures
