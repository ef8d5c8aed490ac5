"""What the data sets of questions have in common: a part for each split, a record for each question, in order."""

import abc
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from data_pipelines.builders.clevrer_qa.example import question_example, question_features
from data_pipelines.builders.clevrer_qa.raw import QuestionScene
from data_pipelines.builders.parts import Part, Row
from data_pipelines.builders.records import RecordBuilder


class QuestionBuilder(RecordBuilder, skip_registration=True):
    """A TFDS builder of questions with programs and answers; its index is of videos and their numbers of questions."""

    @abc.abstractmethod
    def _scenes(self, split: str, results: Iterator[Any]) -> Iterator[QuestionScene]:
        """The questions of a split, from the results of the tasks of its part."""

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=question_features(), homepage="http://clevrer.csail.mit.edu/", disable_shuffling=True
        )

    def _rows(self, part: Part, results: Iterator[Any]) -> Iterator[Row]:
        for scene in self._scenes(part.split, results):
            for question in scene.questions:
                yield Row(example=question_example(scene, question))
            yield Row(entry={"scene_index": scene.scene_index, "num_questions": len(scene.questions)})

    def _index(self) -> dict[str, Any]:
        return {}
