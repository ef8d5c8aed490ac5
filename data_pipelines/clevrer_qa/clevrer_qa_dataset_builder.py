"""CLEVRER's questions as a TFDS data set, one record a question, from the files that the user has downloaded."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from data_pipelines.clevrer_qa.example import question_example, question_features
from data_pipelines.clevrer_qa.raw import QuestionScene, find_question_files, read_questions
from data_pipelines.datasets import CARD_FILENAME, INDEX_FILENAME, VERSION
from data_pipelines.video_builder import BuildOptions, option


@dataclasses.dataclass
class ClevrerQaConfig(tfds.core.BuilderConfig):
    """Which questions are stored."""

    limit: int = option(0, "only the questions of the first so many videos of each split, 0 for all")

    def __post_init__(self):
        if self.limit < 0:
            raise ValueError(f"limit must be at least 0, not {self.limit}")


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Questions with programs and answers, which the test split lacks.

    Beside the records it writes the index that `datasets` describes: here of videos and their numbers of questions.
    """

    VERSION = tfds.core.Version(VERSION)
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put CLEVRER's question files train.json, validation.json, test.json there."
    )
    BUILDER_CONFIGS = [ClevrerQaConfig(name="questions", description="All questions.")]  # noqa: RUF012
    options = BuildOptions()

    @classmethod
    def simulated_card(cls, config: tfds.core.BuilderConfig) -> dict | None:
        """None: questions come from raw files."""
        return None

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=question_features(), homepage="http://clevrer.csail.mit.edu/", disable_shuffling=True
        )

    def _split_generators(self, dl_manager):
        # All files are read before any record is written, so that a bad one is told at once.
        limit = self.builder_config.limit or None
        self._scenes: dict[str, list[QuestionScene]] = {}
        cards = []
        for split, path in find_question_files(Path(dl_manager.manual_dir)).items():
            self._scenes[split] = list(read_questions(path, split))[:limit]
            cards.append(_read_card(path.parent / CARD_FILENAME))
        if any(card != cards[0] for card in cards):
            raise ValueError(
                f"the question files in {dl_manager.manual_dir} are of different origin: see {CARD_FILENAME}"
            )
        # Questions that our simulator asked must never pass for CLEVRER's.
        if cards[0] is not None:
            (Path(self.data_dir) / CARD_FILENAME).write_text(json.dumps(cards[0], indent=2) + "\n")
        return {split: self._generate_examples(scenes) for split, scenes in self._scenes.items()}

    def _generate_examples(self, scenes: list[QuestionScene]) -> Iterator[tuple[int, dict[str, Any]]]:
        questions = ((scene, question) for scene in scenes for question in scene.questions)
        for position, (scene, question) in enumerate(questions):
            yield position, question_example(scene, question)

    def _download_and_prepare(self, dl_manager, download_config=None, **options) -> None:
        # self.data_dir is a temporary folder here, which TFDS gives its final name when this returns.
        with _quiet():
            super()._download_and_prepare(dl_manager, download_config=download_config, **options)
        splits = {
            split: [
                {"scene_index": scene.scene_index, "num_questions": len(scene.questions)} for scene in scenes
            ]
            for split, scenes in self._scenes.items()
        }
        content = {"splits": splits, "problems": []}
        (Path(self.data_dir) / INDEX_FILENAME).write_text(json.dumps(content) + "\n")


def _read_card(path: Path) -> dict | None:
    return json.loads(path.read_text()) if path.is_file() else None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TFDS's own progress bars stay away: a build takes seconds."""
    tfds.disable_progress_bar()
    try:
        yield
    finally:
        tfds.enable_progress_bar()
