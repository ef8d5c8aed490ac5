"""What the data sets of questions have in common: one record a question, in the order of the videos."""

import abc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from data_pipelines.builders.clevrer_qa.example import question_example, question_features
from data_pipelines.builders.clevrer_qa.raw import QuestionScene
from data_pipelines.builders.records import RecordBuilder


class QuestionBuilder(RecordBuilder, skip_registration=True):
    """A TFDS builder of questions with programs and answers; its index is of videos and their numbers of questions."""

    RECORDS_PER_SHARD = 65_536  # some 100 MB

    @abc.abstractmethod
    def _scenes(self, raw_dir: Path | None) -> tuple[dict[str, list[QuestionScene]], dict | None]:
        """The questions of each split, and the card of the simulator that asked them, None for real ones."""

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=question_features(), homepage="http://clevrer.csail.mit.edu/", disable_shuffling=True
        )

    def _split_generators(self, dl_manager):
        self._of_splits, card = self._scenes(self._raw_dir(dl_manager))
        self._write_card(card)
        return {split: self._generate_examples(scenes) for split, scenes in self._of_splits.items()}

    def _generate_examples(self, scenes: list[QuestionScene]) -> Iterator[tuple[int, dict[str, Any]]]:
        questions = ((scene, question) for scene in scenes for question in scene.questions)
        for position, (scene, question) in enumerate(questions):
            yield position, question_example(scene, question)

    def _index(self) -> dict[str, Any]:
        splits = {
            split: [
                {"scene_index": scene.scene_index, "num_questions": len(scene.questions)} for scene in scenes
            ]
            for split, scenes in self._of_splits.items()
        }
        return {"splits": splits, "problems": []}
