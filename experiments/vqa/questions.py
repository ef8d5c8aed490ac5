"""The questions of a split as arrays, and batches of them."""

import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from data_pipelines.builders.clevrer_qa.raw import MAX_CHOICES, QUESTION_TYPES
from data_pipelines.builders.clevrer_qa.records import open_questions
from oddn_jax.reasoning.vocabulary import PADDING

__all__ = ["MAX_CHOICES", "QUESTION_TYPES", "Bucket", "Questions", "buckets", "epochs", "read", "select"]

UNKNOWN = -1


class Questions(NamedTuple):
    """Questions q; words and answers are numbered as in `vocabulary`, -1 is unknown or not there."""

    scene_index: np.ndarray  # i32[q]
    question_id: np.ndarray  # i32[q]
    type: np.ndarray  # i32[q], the place in QUESTION_TYPES
    family: np.ndarray  # str[q], what kind of answer: the subtype of a descriptive question, else the type
    words: np.ndarray  # i32[q 20]
    answer: np.ndarray  # i32[q], 1..21 of a descriptive question
    choice_id: np.ndarray  # i32[q 4]; -1: there is no such choice
    choice_words: np.ndarray  # i32[q 4 12]
    is_correct: np.ndarray  # i32[q 4], 1 or 0


def read(dataset_dir: pathlib.Path, split: str) -> Questions:
    """All questions of a split, in the order of the videos.

    Raises:
        FileNotFoundError, ValueError: there is no such data set or split.
    """
    records = open_questions(dataset_dir, split)
    rows: list[tuple] = []
    for position in range(len(records)):
        record = records[position]
        type_name = QUESTION_TYPES[record["question_type"]]
        choice_id = np.full(MAX_CHOICES, UNKNOWN, np.int32)
        choice_id[: record["num_choices"]] = record["choices"]["choice_id"]
        rows.append(
            (
                record["scene_index"],
                record["question_id"],
                record["question_type"],
                record["question_subtype"].decode() or type_name,
                record["question_words"],
                record["answer_id"],
                choice_id,
                record["choice_words"],
                record["choice_is_correct"],
            )
        )
    columns = (np.array(column) for column in zip(*rows))
    return Questions(*(column.astype(np.int32) if column.dtype.kind == "i" else column for column in columns))


def select(questions: Questions, chosen: np.ndarray) -> Questions:
    """Some of the questions, by places or flags."""
    return Questions(*(column[chosen] for column in questions))


class Bucket(NamedTuple):
    """Questions that go through the model in one form, and how much room they need there."""

    places: np.ndarray  # i64[q], ascending
    num_choices: int  # of each of them; 0: they are descriptive
    question_length: int  # words
    choice_length: int  # words


def buckets(questions: Questions) -> list[Bucket]:
    """Descriptive questions, and the others by their number of choices.

    Multiple-choice questions all have room for the longest of them, so that their choices make one batch.
    """
    lengths = (questions.words != PADDING).sum(-1)
    choice_lengths = (questions.choice_words != PADDING).sum(-1).max(-1)
    numbers = (questions.choice_id >= 0).sum(-1)
    is_descriptive = questions.type == QUESTION_TYPES.index("descriptive")
    found = []
    if is_descriptive.any():
        found.append(Bucket(np.flatnonzero(is_descriptive), 0, int(lengths[is_descriptive].max()), 0))
    for number in np.unique(numbers[~is_descriptive]):
        places = np.flatnonzero(~is_descriptive & (numbers == number))
        longest = (int(of_all[~is_descriptive].max()) for of_all in (lengths, choice_lengths))
        found.append(Bucket(places, int(number), *longest))
    return found


def epochs(num_questions: int, batch_size: int, seed: int, start_step: int) -> Iterator[np.ndarray]:
    """Places i64[batch_size] of the questions of each step from `start_step` on, each epoch in another order.

    What a step gets hangs on the seed and the step alone.
    """
    step, epoch, order = start_step, None, None
    while True:
        places = np.arange(step * batch_size, (step + 1) * batch_size)
        taken = []
        for number in np.unique(places // num_questions):
            if number != epoch:
                epoch, order = number, np.random.default_rng([seed, number]).permutation(num_questions)
            taken.append(order[places[places // num_questions == number] % num_questions])
        yield np.concatenate(taken)
        step += 1
