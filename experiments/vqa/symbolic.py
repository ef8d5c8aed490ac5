"""Answers without a reasoner: the questions' programs run on the scene that linear probes read off a model's slots.

The idea of NS-DR (Yi et al. 2020) on slots that were learned without labels; those of the training videos fit the
probes, and the programs are the questions' own, so that it is an upper reference for what slots say of a scene. Of
descriptive and explanatory questions alone: what comes after a video, or without an object, is not read.
"""

import pathlib
from typing import Any

import numpy as np

from data_pipelines.builders.clevrer_qa.records import open_questions
from data_pipelines.simulator.questions.executor import execute
from data_pipelines.simulator.questions.truth import SceneTruth
from experiments.config import VQAConfig
from experiments.evaluation.slot_contents import ATTRIBUTES
from experiments.vqa import answering, feature_files, labels, questions, scores
from experiments.vqa.config import check
from experiments.vqa.labels import Labelled, labelled_videos
from experiments.vqa.questions import QUESTION_TYPES, Questions, select
from experiments.vqa.scenes import Reader, match
from experiments.vqa.sources import open_model, prepare
from oddn_jax.reasoning.vocabulary import encode_answer

ANSWERED = ("descriptive", "explanatory")


def answer(config: VQAConfig) -> dict[str, Any]:
    """Reads the scenes of the validation videos and answers the questions about them.

    Returns:
        As `answering.train_and_evaluate`, but for `references`, of which there are none, `unanswerable`, the share of
        questions and choices whose program has no answer in the scene that was read (they get what is right most often
        among the training questions of their family), and `probes`: how well objects are found and known on the
        validation videos.

    Raises:
        FileNotFoundError, ValueError: an option, a data set or the model is unusable.
    """
    check(config)
    found = open_model(config.features_of)
    labels.check_model(found)
    sources = prepare(config)
    labelled = list(labelled_videos(found, sources.features, sources.videos, "train", "both"))
    reader = Reader(labelled, feature_files.has_background(sources.features))
    held_out = list(labelled_videos(found, sources.features, sources.videos, config.valid_split, "both"))
    scene_index = feature_files.read_split(sources.features, config.valid_split)["scene_index"]
    truths = {int(index): reader.scene(video.slots) for index, video in zip(scene_index, held_out)}
    train = questions.read(sources.questions, "train")
    asked = questions.read(sources.questions, config.valid_split)
    places = np.flatnonzero(np.isin(asked.type, [QUESTION_TYPES.index(name) for name in ANSWERED]))
    asked = select(asked, places)
    predictions, unanswerable = run_programs(
        sources.questions, config.valid_split, places, truths, train, asked
    )
    return answering.describe(config, sources, train, asked) | {
        "num_steps": 0,
        "scores": scores.score(asked, predictions),
        "references": {},
        "unanswerable": unanswerable,
        "probes": quality(reader, held_out),
    }


def run_programs(
    dataset_dir: pathlib.Path,
    split: str,
    places: np.ndarray,
    truths: dict[int, SceneTruth],
    train: Questions,
    asked: Questions,
) -> tuple[scores.Predictions, float]:
    """What the programs of questions answer on the scenes that were read, and the share of them that have no answer.

    Args:
        places: of the questions in the split, i[q].
        truths: by scene index.
        asked: the same questions.
    """
    records, usual = open_questions(dataset_dir, split), scores.majority(train, asked)
    answer_id, is_correct = usual.answer.copy(), usual.is_correct.copy()
    failed = number = 0
    for row, place in enumerate(places):
        record = records[int(place)]
        truth, program = truths[int(record["scene_index"])], record["program"].decode().split()
        choices = [choice.decode().split() for choice in record["choices"]["program"]]
        for i, choice in enumerate(choices[: record["num_choices"]] if record["num_choices"] else [[]]):
            number += 1
            try:
                said = execute((*choice, *program), truth)
                if record["num_choices"]:
                    is_correct[row, i] = said == "yes"
                else:
                    answer_id[row] = encode_answer(said)
            except ValueError:  # UnanswerableError, or a number that no right answer is
                failed += 1
    return scores.Predictions(answer_id, is_correct), failed / max(number, 1)


def quality(reader: Reader, videos: list[Labelled]) -> dict[str, float]:
    """Shares over videos: `found` of the true objects have a track near them, `extra` of the tracks have no object;
    `color`, `material` and `shape` of those found are right."""
    true = tracked = near = 0
    right = np.zeros(len(ATTRIBUTES))
    for video in videos:
        tracks = reader.follow(video.slots)
        of_track = match(tracks, video.location)
        true, tracked = true + len(video.object_id), tracked + len(of_track)
        matched = of_track >= 0
        near += int(matched.sum())
        right += (tracks.attributes[matched] == video.attributes[of_track[matched]]).sum(0)
    shares = dict(zip(ATTRIBUTES, (right / max(near, 1)).tolist()))
    return {"found": near / max(true, 1), "extra": (tracked - near) / max(tracked, 1), **shares}
