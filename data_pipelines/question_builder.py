"""What the data sets of questions have in common: one record a question, in the order of the videos."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from data_pipelines.clevrer_qa.example import question_example, question_features
from data_pipelines.clevrer_qa.raw import QuestionScene
from data_pipelines.datasets import CARD_FILENAME, INDEX_FILENAME, VERSION
from data_pipelines.video_builder import BuildOptions


class QuestionBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A TFDS builder of questions with programs and answers.

    Beside the records it writes the index that `datasets` describes: here of videos and their numbers of questions.
    """

    VERSION = tfds.core.Version(VERSION)
    options = BuildOptions()

    @classmethod
    def simulated_card(cls, config: tfds.core.BuilderConfig) -> dict | None:
        """The card that building this config would write today; None where the questions come from raw files."""
        return None

    def _scenes(self, raw_dir: Path | None) -> tuple[dict[str, list[QuestionScene]], dict | None]:
        """The questions of each split, and the card of the simulator that asked them, None for real ones."""
        raise NotImplementedError

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=question_features(), homepage="http://clevrer.csail.mit.edu/", disable_shuffling=True
        )

    def _split_generators(self, dl_manager):
        raw_dir = Path(dl_manager.manual_dir) if self.MANUAL_DOWNLOAD_INSTRUCTIONS else None
        self._of_splits, card = self._scenes(raw_dir)
        # Questions that our simulator asked must never pass for CLEVRER's.
        if card is not None:
            (Path(self.data_dir) / CARD_FILENAME).write_text(json.dumps(card, indent=2) + "\n")
        return {split: self._generate_examples(scenes) for split, scenes in self._of_splits.items()}

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
            for split, scenes in self._of_splits.items()
        }
        content = {"splits": splits, "problems": []}
        (Path(self.data_dir) / INDEX_FILENAME).write_text(json.dumps(content) + "\n")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TFDS's own progress bars stay away: they would tell of bytes, not of videos."""
    tfds.disable_progress_bar()
    try:
        yield
    finally:
        tfds.enable_progress_bar()
