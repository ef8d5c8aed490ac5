"""Batches of questions with the features of their videos."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from experiments.config import VQAConfig
from experiments.training.steps import SHARDED
from experiments.vqa.questions import QUESTION_TYPES, Bucket, Questions, buckets, epochs
from oddn_jax.reasoning.vocabulary import CHOICE_LENGTH, QUESTION_LENGTH

PREDICTIVE = QUESTION_TYPES.index("predictive")


class Part(NamedTuple):
    """Questions of one bucket with their videos; c is 0 for descriptive questions."""

    videos: Any  # f32[b t k d]
    words: Any  # i32[b q]
    choice_words: Any  # i32[b c n]
    target: Any  # i32[b 1] the answer, or i32[b c] 1 and 0 for a correct and a wrong choice
    weight: Any  # f32[b], of each answer or choice in the mean over those of its kind
    id: Any  # u32[b], the question's place in its split, on which its noise hangs
    is_predictive: Any  # bool[b], such a question sees rollouts, if there are any


Batch = tuple[Part, ...]  # of all buckets


def training_batches(
    config: VQAConfig, questions: Questions, videos: np.ndarray, rows: np.ndarray, step: int, mesh: Mesh
) -> Iterator[Batch]:
    """The batches from a step on, on the devices; each bucket of questions runs through epochs of its own.

    With `choices_per_question` a step looks at so many random choices of each question: it costs less, and tells nearly
    as much, since all of them share a video.

    Args:
        videos: features f32[v t k d].
        rows: of the video of each question, i64[q].
    """
    groups = buckets(questions)
    sizes = batch_sizes(config.batch_size, [len(group.places) for group in groups], mesh.size)
    orders = [
        epochs(len(group.places), size, config.seed + number, step)
        for number, (group, size) in enumerate(zip(groups, sizes))
    ]
    # Numbers of a kind are rounded to whole questions; the weights make up for it.
    totals = [
        sum(len(other.places) * max(other.num_choices, 1) for other in groups if _same_kind(group, other))
        for group in groups
    ]
    sharding = NamedSharding(mesh, SHARDED)
    for now in itertools.count(step):
        parts = []
        for number, (group, order, size, total) in enumerate(zip(groups, orders, sizes, totals)):
            places = group.places[next(order)]
            weight = np.full(size, len(group.places) / (total * size), np.float32)
            in_question, in_choice = room(config, group)
            words = questions.words[places, :in_question]
            chosen = _choose(config, group.num_choices, size, [config.seed, number, now])
            choices = questions.choice_words[places[:, None], chosen, :in_choice]
            target = questions.is_correct[places[:, None], chosen]
            target = target if group.num_choices else questions.answer[places, None]
            weight *= group.num_choices / max(chosen.shape[1], 1) if group.num_choices else 1
            is_predictive = questions.type[places] == PREDICTIVE
            of_video, ids = videos[rows[places]], places.astype(np.uint32)
            parts.append(Part(of_video, words, choices, target, weight, ids, is_predictive))
        yield jax.device_put(tuple(parts), sharding)


def _choose(config: VQAConfig, num_choices: int, size: int, seed: list[int]) -> np.ndarray:
    """Which choices of each question, i64[size c]: as many random ones as the config says, in their order, or all."""
    wanted = min(config.choices_per_question or num_choices, num_choices)
    if wanted == num_choices:
        return np.tile(np.arange(num_choices), (size, 1))
    order = np.random.default_rng(seed).random((size, num_choices)).argsort(1)
    return np.sort(order[:, :wanted], 1)


def batch_sizes(batch_size: int, numbers: Sequence[int], num_devices: int) -> tuple[int, ...]:
    """Questions of each bucket in a batch: in the proportion of the data, at least one, a multiple of the devices."""
    shares = (batch_size * number / sum(numbers) for number in numbers)
    return tuple(max(1, round(share / num_devices)) * num_devices for share in shares)


def room(config: VQAConfig, group: Bucket) -> tuple[int, int]:
    """Words of a question and of a choice that the model is given of a bucket; one form reads the padding too."""
    if config.model.form == "relative":
        return QUESTION_LENGTH, CHOICE_LENGTH
    return group.question_length, group.choice_length


def _same_kind(one: Bucket, other: Bucket) -> bool:
    return (one.num_choices == 0) == (other.num_choices == 0)
