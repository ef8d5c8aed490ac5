"""CLEVRER-like videos that the simulator renders straight to the size and stride at which they are stored."""

import dataclasses
import functools
from pathlib import Path

import tensorflow_datasets as tfds

from data_pipelines import simulator
from data_pipelines.features import video_features
from data_pipelines.simulated_clevrer.render import FIRST_INDEX, render_sample
from data_pipelines.video_builder import Tasks, VideoBuilder, option

SCENES = {
    "clevrer": simulator.CLEVRER,
    "six_objects": simulator.SIX_OBJECTS,
    "quickstart": simulator.QUICKSTART,
}


@dataclasses.dataclass
class SimulatedClevrerConfig(tfds.core.BuilderConfig):
    """What is simulated and how it is stored."""

    scenes: str = option("clevrer", "clevrer, six_objects or quickstart")
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

    def __post_init__(self):
        if self.scenes not in SCENES:
            raise ValueError(f"scenes must be one of {', '.join(SCENES)}, not {self.scenes!r}")
        for field in ("height", "width", "stride", "num_train", "num_validation", "supersampling"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be at least 1, not {getattr(self, field)}")
        if self.num_train > FIRST_INDEX["validation"] or self.num_validation > FIRST_INDEX["validation"]:
            raise ValueError(f"a split holds at most {FIRST_INDEX['validation']} videos")
        if self.num_frames < 0 or self.seed < 0:
            raise ValueError("num_frames and seed must be at least 0")
        visible = SCENES[self.scenes].num_frames
        if (self.num_frames - 1) * self.stride >= visible:
            raise ValueError(
                f"{self.num_frames} frames at stride {self.stride} span more than the {visible} frames of a "
                f"{self.scenes} scene"
            )

    @property
    def source_stride(self) -> int:
        return self.stride


class Builder(VideoBuilder):
    """Videos, exact masks, objects, trajectories, positions in the image and collisions."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = None
    BUILDER_CONFIGS = [  # noqa: RUF012, TFDS's own convention
        SimulatedClevrerConfig(
            name="quickstart",
            description="Few large objects in short small clips: rendered in seconds, learned in minutes.",
            scenes="quickstart",
            height=32,
            width=32,
            stride=4,
            num_train=160,
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

    def _tasks(self, raw_dir: Path | None) -> Tasks:
        config = self.builder_config
        return {
            split: [
                functools.partial(
                    render_sample,
                    SCENES[config.scenes],
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
            for split, number in (("train", config.num_train), ("validation", config.num_validation))
        }

    @classmethod
    def simulated_card(cls, config: tfds.core.BuilderConfig) -> dict:
        fields = [field.name for field in dataclasses.fields(config) if "help" in field.metadata]
        options = {name: getattr(config, name) for name in fields}
        return simulator.simulator_card(SCENES[config.scenes], **options)
