"""A reasoner's answers to many questions, as it is evaluated: without dropout, with fixed frames and order."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.config import VQAConfig
from experiments.vqa.batches import PREDICTIVE, room
from experiments.vqa.questions import MAX_CHOICES, Questions, buckets
from experiments.vqa.scores import Predictions
from experiments.vqa.steps import take_frames
from oddn_jax.reasoning import ALOE, slots
from oddn_jax.reasoning.vocabulary import NUM_ANSWERS

EVALUATION_BATCH = 64  # rows: descriptive questions, or choices


class Logits(NamedTuple):
    """What the model says to questions q; what it says to those of the other kind is zero."""

    answer: np.ndarray  # f32[q 22]
    choice: np.ndarray  # f32[q 4]


def make_readings(config: VQAConfig) -> tuple[Callable, Callable]:
    """The model as it is evaluated, of rows, with fixed frames and order.

    Returns:
        answer: `(params, videos, words) -> f32[r 22]`, for descriptive questions.
        judge: `(params, videos, is_predictive, words, choices) -> f32[r]`, of one choice a row.
    """
    model = ALOE(config.model)

    def frames(videos, is_predictive):
        return jax.vmap(functools.partial(take_frames, config, slots.evaluation_frames))(
            videos, is_predictive
        )

    @jax.jit
    def answer(params, videos, words):
        seen = frames(videos, jnp.zeros(len(videos), bool))
        return model.apply({"params": params}, seen, words, method="answer")

    @jax.jit
    def judge(params, videos, is_predictive, words, choices):
        seen = frames(videos, is_predictive)
        return model.apply({"params": params}, seen, words, choices[:, None], method="judge")[:, 0]

    return answer, judge


def make_answering(config: VQAConfig) -> Callable[[Any, Questions, np.ndarray, np.ndarray], Logits]:
    """Returns `(params, questions, videos, rows) -> Logits`, with the fixed frames and order of evaluation."""
    answer, judge = make_readings(config)

    def run(params, questions, videos, rows):
        number = len(questions.type)
        logits = Logits(*(np.zeros((number, size), np.float32) for size in (NUM_ANSWERS, MAX_CHOICES)))
        forms: dict[tuple[bool, int, int], list[tuple[np.ndarray, np.ndarray]]] = {}
        for group in buckets(questions):
            num_rows = max(group.num_choices, 1)
            of_rows = np.repeat(group.places, num_rows), np.tile(np.arange(num_rows), len(group.places))
            forms.setdefault((group.num_choices > 0, *room(config, group)), []).append(of_rows)
        for (is_choice, in_question, in_choice), parts in forms.items():
            places, choices = map(np.concatenate, zip(*parts))
            for start in range(0, len(places), EVALUATION_BATCH):
                taken = np.arange(start, min(start + EVALUATION_BATCH, len(places)))
                padded = np.resize(taken, EVALUATION_BATCH)  # one shape, one compilation
                place, choice = places[padded], choices[padded]
                seen, words = videos[rows[place]], questions.words[place, :in_question]
                if is_choice:
                    of_choice = questions.choice_words[place, choice, :in_choice]
                    said = judge(params, seen, questions.type[place] == PREDICTIVE, words, of_choice)
                    logits.choice[places[taken], choices[taken]] = np.asarray(said)[: len(taken)]
                else:
                    logits.answer[places[taken]] = np.asarray(answer(params, seen, words))[: len(taken)]
        return logits

    return run


def to_predictions(logits: Logits) -> Predictions:
    """The likeliest answer, padding excepted, and the choices above 0."""
    return Predictions(1 + logits.answer[:, 1:].argmax(-1), logits.choice > 0)


def mean_losses(logits: Logits, questions: Questions) -> dict[str, float]:
    """The losses of `compute_losses` by name, of answered questions."""
    losses = {}
    is_descriptive, exists = questions.type == 0, questions.is_correct >= 0
    if is_descriptive.any():
        of_answers = optax.softmax_cross_entropy_with_integer_labels(
            logits.answer[is_descriptive], questions.answer[is_descriptive]
        )
        losses["descriptive_loss"] = float(of_answers.mean())
    if exists.any():
        of_choices = optax.sigmoid_binary_cross_entropy(logits.choice[exists], questions.is_correct[exists])
        losses["choice_loss"] = float(of_choices.mean())
    return {"loss": sum(losses.values()), **losses}
