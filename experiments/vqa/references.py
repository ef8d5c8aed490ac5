"""The upper reference: each question's program, executed on what is true of the simulated scene."""

import functools
import json
import pathlib
from typing import Any

import numpy as np

from data_pipelines.builders.clevrer_qa.raw import MAX_CHOICES
from data_pipelines.builders.clevrer_qa.records import open_questions
from data_pipelines.datasets import CARD_FILENAME
from data_pipelines.parallel import default_jobs, ordered_map
from data_pipelines.simulator.config import SceneConfig, video_seed
from data_pipelines.simulator.questions.executor import execute
from data_pipelines.simulator.questions.files import simulate_truth
from data_pipelines.simulator.questions.truth import SceneTruth
from experiments.vqa.questions import Questions, select
from experiments.vqa.scores import Predictions, score
from oddn_jax.reasoning.vocabulary import encode_answer

NUM_VIDEOS = 50  # simulated again, with a simulation for each object; seconds


def executor_scores(dataset_dir: pathlib.Path, split: str, questions: Questions) -> dict[str, dict] | None:
    """The scores of executing the programs of the questions about the first `NUM_VIDEOS` videos of a split.

    None where the questions are not the simulator's: annotations tell neither what comes after a video nor what would
    have happened without an object.

    Args:
        questions: all of the split, in order.
    """
    card = dataset_dir / CARD_FILENAME
    if not card.is_file():
        return None
    truths = simulate_truths(json.loads(card.read_text()), _first(questions.scene_index))
    chosen = np.flatnonzero(np.isin(questions.scene_index, list(truths)))
    records = open_questions(dataset_dir, split)
    answer = np.zeros(len(chosen), np.int32)
    is_correct = np.zeros((len(chosen), MAX_CHOICES), bool)
    for row, place in enumerate(chosen):
        record = records[int(place)]
        truth, program = truths[record["scene_index"]], record["program"].decode().split()
        if record["num_choices"] == 0:
            answer[row] = encode_answer(execute(program, truth))
        for i in range(record["num_choices"]):
            choice = record["choices"]["program"][i].decode().split()
            is_correct[row, i] = execute((*choice, *program), truth) == "yes"
    return score(select(questions, chosen), Predictions(answer, is_correct))


def simulate_truths(card: dict[str, Any], scene_indices: list[int]) -> dict[int, SceneTruth]:
    """What is true of some scenes of a simulated data set, by index."""
    config = SceneConfig(**{name: _tuples(value) for name, value in card["config"].items()})
    seeds = [video_seed(card["options"]["seed"], index) for index in scene_indices]
    tasks = [functools.partial(simulate_truth, config, seed) for seed in seeds]
    # A few are simulated sooner than processes start.
    jobs = default_jobs() if len(tasks) > 10 else 1
    return dict(zip(scene_indices, ordered_map(tasks, jobs)))


def _first(scene_index: np.ndarray) -> list[int]:
    return list(dict.fromkeys(scene_index.tolist()))[:NUM_VIDEOS]


def _tuples(value: Any) -> Any:
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value
