"""What one step of training a question answering model computes."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from experiments.config import VQAConfig
from experiments.training.steps import TrainState, step_or_skip
from experiments.vqa.batches import Batch, Part
from oddn_jax.reasoning import ALOE, slots


class Rows(NamedTuple):
    """What goes through the model: a row for each descriptive question, and for each choice of the others."""

    video: jax.Array  # f32[r n k d], the frames that are seen
    hidden: jax.Array  # bool[r n k]
    words: jax.Array  # i32[r q]
    choice_words: jax.Array  # i32[r n]
    is_choice: jax.Array  # bool[r]
    target: jax.Array  # i32[r]
    weight: jax.Array  # f32[r]
    key: jax.Array  # key[r], of dropout


def make_optimizer(config: VQAConfig) -> optax.GradientTransformation:
    """Adam or Muon with a rate that climbs linearly and falls to a hundredth as a cosine does.

    Muon (Jordan et al., 2024) orthogonalises the updates of the kernels in the transformer's layers, here of a root
    mean square that is the rate; all else is Adam's. Source: our choice for little time to learn in.
    """
    warmup = round(config.warmup_share * config.num_steps)
    schedule = optax.warmup_cosine_decay_schedule(
        0.0 if warmup else config.learning_rate,
        config.learning_rate,
        warmup,
        max(config.num_steps, warmup + 1),
        config.learning_rate / 100,
    )
    if config.optimizer == "adam":
        return optax.adam(schedule)
    return optax.contrib.muon(
        schedule, adam_learning_rate=schedule, muon_weight_dimension_numbers=_muon_axes, consistent_rms=1.0
    )


def _muon_axes(params: Any) -> Any:
    """The axes of each kernel that Muon takes as a matrix, [layer in out]; None for what is Adam's."""
    axes = optax.contrib.MuonDimensionNumbers(reduction_axis=1, output_axis=2)

    def of(path, leaf):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        return axes if name.startswith("transformer/layers/") and name.endswith("/kernel") else None

    return jax.tree_util.tree_map_with_path(of, params)


def initial_state(config: VQAConfig, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step, from `config.seed`."""
    params = ALOE(config.model).initialize(jax.random.key(config.seed))
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))


def compute_losses(
    config: VQAConfig, params: Any, batch: Batch, key: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The training loss and what is logged beside it.

    The mean cross-entropy over descriptive questions and the mean over choices count the same. Rows of one length go
    through the model as one batch.
    """
    totals: dict[str, jax.Array] = {}
    for rows in _by_length([_look(config, part, key) for part in batch]):
        for name, value in _sums(config, params, rows).items():
            totals[name] = totals.get(name, 0.0) + value
    kinds = dict.fromkeys("choice" if part.choice_words.shape[1] else "descriptive" for part in batch)
    metrics = {f"{kind}_{name}": totals[f"{kind}_{name}"] for kind in kinds for name in ("loss", "right")}
    loss = sum(metrics[f"{kind}_loss"] for kind in kinds)
    if config.model.predict_hidden_slots:
        metrics["hidden_slots_loss"] = totals["hidden_slots_error"] / totals["hidden_slots"]
        loss += config.hidden_slots_weight * metrics["hidden_slots_loss"]
    return loss, {"loss": loss, **metrics}


def _look(config: VQAConfig, part: Part, key: jax.Array) -> Rows:
    """Frames, order and hidden slots of each question's video, the same for all its choices; then a row a choice."""
    model, (number, num_choices, length) = config.model, part.choice_words.shape
    num_rows = max(num_choices, 1)

    def look(video, words, choices, target, weight, id, is_predictive):
        frames_key, order_key, hidden_key, dropout_key = jax.random.split(jax.random.fold_in(key, id), 4)
        take = functools.partial(slots.training_frames, frames_key)
        video = take_frames(config, take, video, is_predictive)
        video = slots.shuffle_slots(order_key, video, model.background_slot)
        hidden = slots.hide_slots(hidden_key, model.num_frames, model.num_slots)
        of_question = (video, hidden, words, jnp.asarray(num_choices > 0), weight)
        video, hidden, words, is_choice, weight = (
            jnp.broadcast_to(x, (num_rows, *x.shape)) for x in of_question
        )
        keys = jax.random.split(dropout_key, num_rows)
        return Rows(video, hidden, words, choices, is_choice, target, weight, keys)

    choices = part.choice_words if num_choices else jnp.zeros((number, 1, length), jnp.int32)
    rows = jax.vmap(look)(
        part.videos, part.words, choices, part.target, part.weight, part.id, part.is_predictive
    )
    return jax.tree.map(lambda leaf: leaf.reshape(number * num_rows, *leaf.shape[2:]), rows)


def take_frames(config: VQAConfig, take: Callable, video: jax.Array, is_predictive: jax.Array) -> jax.Array:
    """The frames [n k d] of a video [t k d] that a question sees: taken from what was observed, or spread over all."""
    observed = video[: len(video) - config.rollout_frames]
    seen = take(observed, config.model.num_frames, config.frame_stride)
    if not config.rollout_frames:
        return seen
    return jnp.where(is_predictive, slots.spread_frames(video, config.model.num_frames), seen)


def _by_length(parts: list[Rows]) -> list[Rows]:
    """The rows of all parts, those with equally much room for words together."""
    found: dict[tuple[int, int], list[Rows]] = {}
    for rows in parts:
        found.setdefault((rows.words.shape[1], rows.choice_words.shape[1]), []).append(rows)
    return [jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *same) for same in found.values()]


def _sums(config: VQAConfig, params: Any, rows: Rows) -> dict[str, jax.Array]:
    """Sums over rows: of weighted losses and right answers by kind, and of the errors of hidden slots."""

    def read(rows):
        return ALOE(config.model).apply(
            {"params": params},
            rows.video,
            rows.words,
            rows.choice_words,
            hidden=rows.hidden if config.model.predict_hidden_slots else None,
            deterministic=False,
            rngs={"dropout": rows.key},
        )

    answer = jax.vmap(read)(rows)
    of_choice = optax.sigmoid_binary_cross_entropy(answer.choice_logit, rows.target)
    of_answer = optax.softmax_cross_entropy_with_integer_labels(answer.answer_logits, rows.target)
    losses = jnp.where(rows.is_choice, of_choice, of_answer)
    said = jnp.where(rows.is_choice, answer.choice_logit > 0, answer.answer_logits.argmax(-1))
    sums = {}
    for kind, of_kind in (("descriptive", ~rows.is_choice), ("choice", rows.is_choice)):
        weight = rows.weight * of_kind
        sums |= {f"{kind}_loss": weight @ losses, f"{kind}_right": weight @ (said == rows.target)}
    if config.model.predict_hidden_slots:
        errors = ((answer.predicted_slots - rows.video) ** 2).mean(-1)
        sums |= {"hidden_slots_error": errors.sum(where=rows.hidden), "hidden_slots": rows.hidden.sum()}
    return sums


def make_train_step(config: VQAConfig, optimizer: optax.GradientTransformation) -> Callable:
    """One step of training, `(state, batch) -> (state, metrics)`; it consumes the state it is given."""

    def step(state, batch):
        key = jax.random.fold_in(jax.random.key((config.seed + 1) % 2**32), state.step)
        gradients, metrics = jax.grad(
            lambda params: compute_losses(config, params, batch, key), has_aux=True
        )(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        metrics |= {"gradient_norm": optax.tree.norm(gradients), "update_norm": optax.tree.norm(updates)}
        new = TrainState(state.step + 1, optax.apply_updates(state.params, updates), opt_state)
        return step_or_skip(metrics, new, state), metrics

    return jax.jit(step, donate_argnums=0)
