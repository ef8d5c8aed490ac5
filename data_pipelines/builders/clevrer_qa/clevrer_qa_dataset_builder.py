"""CLEVRER's questions as a TFDS data set, one record a question, from the files that the user has downloaded."""

import dataclasses
import json
from pathlib import Path

import tensorflow_datasets as tfds

from data_pipelines.builders.clevrer_qa.question_builder import QuestionBuilder
from data_pipelines.builders.clevrer_qa.raw import QuestionScene, find_question_files, read_questions
from data_pipelines.builders.records import option
from data_pipelines.datasets import CARD_FILENAME


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

    def _scenes(self, raw_dir: Path | None) -> tuple[dict[str, list[QuestionScene]], dict | None]:
        # All files are read before any record is written, so that a bad one is told at once.
        limit = self.builder_config.limit or None
        scenes, cards = {}, []
        for split, path in find_question_files(raw_dir).items():
            scenes[split] = list(read_questions(path, split))[:limit]
            cards.append(_read_card(path.parent / CARD_FILENAME))
        if any(card != cards[0] for card in cards):
            raise ValueError(f"the question files in {raw_dir} are of different origin: see {CARD_FILENAME}")
        return scenes, cards[0]


def _read_card(path: Path) -> dict | None:
    return json.loads(path.read_text()) if path.is_file() else None
