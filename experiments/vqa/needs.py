"""A reasoner's training as `experiments.memory` asks about it, before there are features and questions."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from experiments.config import VQAConfig
from experiments.measuring.ahead_of_time import on_mesh
from experiments.measuring.memory import Training
from experiments.training.steps import REPLICATED, SHARDED
from experiments.vqa import batches, steps
from oddn_jax.reasoning.vocabulary import CHOICE_LENGTH, QUESTION_LENGTH

# CLEVRER's training questions by their number of choices, counted in its files; 0: descriptive.
NUM_QUESTIONS = {0: 109_952, 1: 149, 2: 9_317, 3: 10_188, 4: 22_966}
NUM_FRAMES = 128  # of its videos


def training_inputs(config: VQAConfig, mesh: Mesh) -> tuple[Any, batches.Batch]:
    """State and batch of a training step, as shapes on the mesh.

    Videos and the mix of questions are CLEVRER's, words as many as there can be; slots and their numbers are those of
    `config.model`, which a run takes from its features.
    """
    config = _as_seen(config)
    state = jax.eval_shape(lambda: steps.initial_state(config, steps.make_optimizer(config)))
    sizes = batches.batch_sizes(config.batch_size, list(NUM_QUESTIONS.values()), mesh.size)
    looked_at = [min(config.choices_per_question or number, number) for number in NUM_QUESTIONS]
    batch = tuple(_part(config, size, choices) for size, choices in zip(sizes, looked_at))
    return on_mesh(state, mesh, REPLICATED), on_mesh(batch, mesh, SHARDED)


def make_training_step(config: VQAConfig, mesh: Mesh) -> Callable:
    """The step that `training.fit` runs."""
    return steps.make_train_step(_as_seen(config), steps.make_optimizer(config))


def _as_seen(config: VQAConfig) -> VQAConfig:
    """With a model for the frames that are seen of a video, as a run gets it."""
    return dataclasses.replace(config, model=dataclasses.replace(config.model, num_frames=config.num_frames))


def _part(config: VQAConfig, size: int, num_choices: int) -> batches.Part:
    def array(dtype, *shape):
        return jax.ShapeDtypeStruct((size, *shape), dtype)

    return batches.Part(
        videos=array(
            jnp.float32, NUM_FRAMES + config.rollout_frames, config.model.num_slots, config.model.feature_size
        ),
        words=array(jnp.int32, QUESTION_LENGTH),
        choice_words=array(jnp.int32, num_choices, CHOICE_LENGTH if num_choices else 0),
        target=array(jnp.int32, max(num_choices, 1)),
        weight=array(jnp.float32),
        id=array(jnp.uint32),
        is_predictive=array(bool),
    )


QUESTIONS = Training(
    training_inputs,
    make_training_step,
    {"recompute": (False, True), "compute_dtype": ("float32", "bfloat16")},
    lambda config: config.num_steps,
)
