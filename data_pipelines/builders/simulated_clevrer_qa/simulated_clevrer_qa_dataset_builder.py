"""Questions about the videos of simulated_clevrer, asked by the simulator: nothing has to be downloaded."""

import dataclasses
import functools
from collections.abc import Collection, Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from data_pipelines import simulator
from data_pipelines.builders.clevrer_qa.question_builder import QuestionBuilder
from data_pipelines.builders.clevrer_qa.raw import QuestionScene, parse_scene
from data_pipelines.builders.parts import Part
from data_pipelines.builders.records import Plan, option, option_values
from data_pipelines.builders.simulated_clevrer.simulated_clevrer_dataset_builder import FIRST_INDEX, SCENES
from data_pipelines.builders.simulated_clevrer_qa.truths import scene_truth
from data_pipelines.seeds import check_seed
from data_pipelines.simulator.questions.generation import question_scenes
from data_pipelines.simulator.questions.truth import SceneTruth


@dataclasses.dataclass
class SimulatedClevrerQaConfig(tfds.core.BuilderConfig):
    """Whose videos the questions are about: those of a simulated_clevrer config with equal options."""

    scenes: str = option("clevrer", "clevrer, six_objects, quickstart or quickstart_long")
    num_train: int = option(10000, "videos")
    num_validation: int = option(5000, "videos")
    seed: int = option(0, "another seed, other videos")

    def __post_init__(self):
        check_seed("seed", self.seed)
        if self.scenes not in SCENES:
            raise ValueError(f"scenes must be one of {', '.join(SCENES)}, not {self.scenes!r}")
        for field in ("num_train", "num_validation"):
            if not 1 <= getattr(self, field) <= FIRST_INDEX["validation"]:
                raise ValueError(
                    f"{field} must be 1 to {FIRST_INDEX['validation']}, not {getattr(self, field)}"
                )


class Builder(QuestionBuilder):
    """Questions with programs and answers, about the first videos of each split of simulated_clevrer."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = None
    BUILDER_CONFIGS = [  # noqa: RUF012, TFDS's own convention
        SimulatedClevrerQaConfig(
            name="quickstart",
            description="About the videos of simulated_clevrer/quickstart_questions.",
            scenes="quickstart",
            num_train=600,
            num_validation=120,
        ),
        SimulatedClevrerQaConfig(
            name="clevrer", description="About the videos of simulated_clevrer/64x64 and 64x96."
        ),
    ]

    def _plan(self, raw_dir: Path | None, splits: Collection[str] | None) -> Plan:
        config = self.builder_config
        return {
            split: [
                Part(
                    split,
                    0,
                    tuple(
                        functools.partial(scene_truth, config.scenes, config.seed, index)
                        for index in self._indices(split)
                    ),
                )
            ]
            for split in FIRST_INDEX
        }

    def _indices(self, split: str) -> range:
        first = FIRST_INDEX[split]
        return range(first, first + getattr(self.builder_config, f"num_{split}"))

    def _scenes(self, split: str, results: Iterator[SceneTruth | None]) -> Iterator[QuestionScene]:
        truths = [(index, truth) for index, truth in zip(self._indices(split), results) if truth is not None]
        yield from map(parse_scene, question_scenes(truths, self.builder_config.seed))

    @classmethod
    def simulated_card(cls, config: tfds.core.BuilderConfig) -> dict:
        return simulator.simulator_card(SCENES[config.scenes], **option_values(config))

    @classmethod
    def simulated_splits(cls, config: tfds.core.BuilderConfig) -> tuple[str, ...]:
        return tuple(FIRST_INDEX)
