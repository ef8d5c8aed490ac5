"""What the simulated data sets of videos and of scenes have in common: checked options, and a task for each video."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_pipelines import simulator
from data_pipelines.builders.records import option_values
from data_pipelines.builders.videos import Tasks, VideoBuilder, VideoTask
from data_pipelines.samples import Render, rendered_sample
from data_pipelines.seeds import check_seed


class SimulatedConfig(tfds.core.BuilderConfig):
    """What is simulated and how it is stored.

    A data set's own config has the options POSITIVE, `num_frames`, `seed`, `num_SPLIT` for each split, and the one that
    KIND names, which chooses what is simulated.
    """

    # Options of `Builder.render`, with `num_frames`, that must be above 0, as `num_SPLIT` must.
    POSITIVE: ClassVar[tuple[str, ...]] = ("height", "width", "stride", "supersampling")
    KIND: ClassVar[str]
    CHOICES: ClassVar[Mapping[str, Any]]  # configurations of the simulator, by name
    # Numbers of videos, and with them the seeds, of one split never reach those of the other.
    FIRST_INDEX: ClassVar[Mapping[str, int]]
    FILENAME: ClassVar[str]  # of a video, a format of its number

    def __post_init__(self):
        check_seed("seed", self.seed)
        chosen = getattr(self, self.KIND)
        if chosen not in self.CHOICES:
            raise ValueError(f"{self.KIND} must be one of {', '.join(self.CHOICES)}, not {chosen!r}")
        for field in (*self.POSITIVE, *(f"num_{split}" for split in self.FIRST_INDEX)):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be at least 1, not {getattr(self, field)}")
        most = max(self.FIRST_INDEX.values())
        if max(self.num_videos.values()) > most:
            raise ValueError(f"a split holds at most {most} videos")
        if self.num_frames < 0:
            raise ValueError(f"num_frames must be at least 0, not {self.num_frames}")
        available = self.simulated.num_frames
        if (self.num_frames - 1) * self.stride >= available:
            raise ValueError(
                f"{self.num_frames} frames at stride {self.stride} span more than the {available} frames of "
                f"{self.KIND}={chosen}"
            )

    @property
    def source_stride(self) -> int:
        return self.stride

    @property
    def simulated(self) -> Any:
        """The configuration of the simulator."""
        return self.CHOICES[getattr(self, self.KIND)]

    @property
    def num_videos(self) -> dict[str, int]:
        """By split."""
        return {split: getattr(self, f"num_{split}") for split in self.FIRST_INDEX}


class SimulatedVideoBuilder(VideoBuilder, skip_registration=True):
    """A builder of videos that the simulator renders; its configs are `SimulatedConfig`s."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = None
    render: ClassVar[Render]

    def _tasks(self, raw_dir: Path | None) -> Tasks:
        config = self.builder_config
        options = {name: getattr(config, name) for name in config.POSITIVE}
        options["num_frames"] = config.num_frames or None

        def task(index):
            filename = config.FILENAME.format(index)
            render = type(self).render
            return VideoTask(
                functools.partial(
                    rendered_sample, render, config.simulated, config.seed, index, filename, options
                )
            )

        return {
            split: [task(config.FIRST_INDEX[split] + position) for position in range(number)]
            for split, number in config.num_videos.items()
        }

    @classmethod
    def simulated_card(cls, config: tfds.core.BuilderConfig) -> dict:
        return simulator.simulator_card(config.simulated, **option_values(config))

    @classmethod
    def simulated_splits(cls, config: tfds.core.BuilderConfig) -> tuple[str, ...]:
        return tuple(config.FIRST_INDEX)
