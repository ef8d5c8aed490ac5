"""CLEVRER's questions as a TFDS data set, one record a question, from the files that the user has downloaded."""

import dataclasses
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from data_pipelines.builders.clevrer_qa.question_builder import QuestionBuilder
from data_pipelines.builders.clevrer_qa.raw import QuestionScene, find_question_files, read_questions
from data_pipelines.builders.parts import Part
from data_pipelines.builders.records import Plan, option
from data_pipelines.datasets import CARD_FILENAME, read_card


@dataclasses.dataclass
class ClevrerQaConfig(tfds.core.BuilderConfig):
    """Which questions are stored."""

    limit: int = option(0, "only the questions of the first so many videos of each split, 0 for all")

    def __post_init__(self):
        if self.limit < 0:
            raise ValueError(f"limit must be at least 0, not {self.limit}")


class Builder(QuestionBuilder):
    """Questions with programs and answers, which the test split lacks."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put CLEVRER's question files train.json, validation.json, test.json there."
    )
    BUILDER_CONFIGS = [ClevrerQaConfig(name="questions", description="All questions.")]  # noqa: RUF012

    def _plan(self, raw_dir: Path | None, splits: Collection[str] | None) -> Plan:
        files = find_question_files(raw_dir)
        # All of them are read before any record is written, so that a bad one is told at once.
        self._read = {
            split: list(read_questions(path, split))[: self.builder_config.limit or None]
            for split, path in files.items()
            if splits is None or split in splits
        }
        return {split: [Part(split, 0, sources=(path,))] for split, path in files.items()}

    def _scenes(self, split: str, results: Iterator[Any]) -> Iterator[QuestionScene]:
        yield from self._read[split]

    def _card(self, raw_dir: Path | None) -> dict | None:
        cards = [read_card(find_question_files(raw_dir)[split].parent) for split in self._read]
        if any(card != cards[0] for card in cards):
            raise ValueError(f"the question files in {raw_dir} are of different origin: see {CARD_FILENAME}")
        return cards[0]
