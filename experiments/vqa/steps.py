"""What one step of training a question answering model computes, and its answers."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding

from experiments.config import VQAConfig
from experiments.training.steps import SHARDED, TrainState
from experiments.vqa.questions import MAX_CHOICES, Questions, epochs, select
from experiments.vqa.scores import Predictions
from oddn_jax.reasoning import ALOE, slots
from oddn_jax.reasoning.vocabulary import CHOICE_LENGTH, NUM_ANSWERS, QUESTION_LENGTH

EVALUATION_BATCH = 64  # questions; a choice question counts for its four choices


class Part(NamedTuple):
    """Questions of one kind with their videos; c is 1 for descriptive questions, whose choice is padding."""

    videos: Any  # f32[b t k d]
    words: Any  # i32[b 20]
    choice_words: Any  # i32[b c 12]
    target: Any  # i32[b c]: the answer, or 1 and 0 for a correct and a wrong choice, -1 for none
    id: Any  # u32[b], the question's place in its split, on which its noise hangs


class Batch(NamedTuple):
    """Questions of both kinds; None where the data have none of a kind."""

    descriptive: Part | None
    choice: Part | None


def make_optimizer(config: VQAConfig) -> optax.GradientTransformation:
    """Adam with a rate that climbs linearly and falls to a hundredth as a cosine does."""
    warmup = round(config.warmup_share * config.num_steps)
    return optax.adam(
        optax.warmup_cosine_decay_schedule(
            0.0 if warmup else config.learning_rate,
            config.learning_rate,
            warmup,
            max(config.num_steps, warmup + 1),
            config.learning_rate / 100,
        )
    )


def initial_state(config: VQAConfig, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step, from `config.seed`."""
    model = config.model
    videos = jnp.zeros((1, model.num_frames, model.num_slots, model.feature_size))
    words, choice = (jnp.zeros((1, length), jnp.int32) for length in (QUESTION_LENGTH, CHOICE_LENGTH))
    params = ALOE(model).init(jax.random.key(config.seed), videos, words, choice)["params"]
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))


def compute_losses(
    config: VQAConfig, params: Any, batch: Batch, key: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The training loss and what is logged beside it.

    The mean cross-entropy over descriptive questions and the mean over choices count the same; both kinds go through
    the model as one batch.
    """
    parts = [part for part in batch if part is not None]
    inputs = [_look(config, part, key) for part in parts]
    videos, hidden, words, choices, keys = (jnp.concatenate(leaves) for leaves in zip(*inputs))

    def read(video, hidden, words, choice, key):
        return ALOE(config.model).apply(
            {"params": params},
            video,
            words,
            choice,
            hidden=hidden if config.model.predict_hidden_slots else None,
            deterministic=False,
            rngs={"dropout": key},
        )

    answer = jax.vmap(read)(videos, hidden, words, choices, keys)
    metrics = {}
    num_descriptive = 0 if batch.descriptive is None else len(batch.descriptive.words)
    if batch.descriptive is not None:
        logits, target = answer.answer_logits[:num_descriptive], batch.descriptive.target[:, 0]
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, target)
        metrics["descriptive_loss"] = losses.mean()
        metrics["descriptive_right"] = (logits.argmax(-1) == target).mean()
    if batch.choice is not None:
        logits, target = answer.choice_logit[num_descriptive:], batch.choice.target.reshape(-1)
        exists = target >= 0
        losses = optax.sigmoid_binary_cross_entropy(logits, target)
        metrics["choice_loss"] = losses.mean(where=exists)
        metrics["choice_right"] = ((logits > 0) == target).mean(where=exists)
    loss = sum(metrics[name] for name in ("descriptive_loss", "choice_loss") if name in metrics)
    if config.model.predict_hidden_slots:
        errors = ((answer.predicted_slots - videos) ** 2).mean(-1)
        metrics["hidden_slots_loss"] = errors.mean(where=hidden)
        loss += config.hidden_slots_weight * metrics["hidden_slots_loss"]
    return loss, {"loss": loss, **metrics}


def _look(config: VQAConfig, part: Part, key: jax.Array) -> tuple[jax.Array, ...]:
    """Frames, order and hidden slots of each question's video, the same for all its choices; then a row a choice."""
    model, num_choices = config.model, part.choice_words.shape[1]

    def look(video, words, choices, id):
        frames_key, order_key, hidden_key, dropout_key = jax.random.split(jax.random.fold_in(key, id), 4)
        video = slots.training_frames(frames_key, video, model.num_frames, config.frame_stride)
        video = slots.shuffle_slots(order_key, video, model.background_slot)
        hidden = slots.hide_slots(hidden_key, model.num_frames, model.num_slots)
        repeated = (jnp.broadcast_to(x, (num_choices, *x.shape)) for x in (video, hidden, words))
        return *repeated, choices, jax.random.split(dropout_key, num_choices)

    rows = jax.vmap(look)(part.videos, part.words, part.choice_words, part.id)
    return tuple(leaf.reshape(-1, *leaf.shape[2:]) for leaf in rows)


def make_train_step(config: VQAConfig, optimizer: optax.GradientTransformation) -> Callable:
    """One step of training, `(state, batch) -> (state, metrics)`; it consumes the state it is given."""

    def step(state, batch):
        key = jax.random.fold_in(jax.random.key((config.seed + 1) % 2**32), state.step)
        gradients, metrics = jax.grad(
            lambda params: compute_losses(config, params, batch, key), has_aux=True
        )(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        metrics |= {"gradient_norm": optax.tree.norm(gradients), "update_norm": optax.tree.norm(updates)}
        return TrainState(state.step + 1, optax.apply_updates(state.params, updates), opt_state), metrics

    return jax.jit(step, donate_argnums=0)


def training_batches(
    config: VQAConfig, questions: Questions, videos: np.ndarray, rows: np.ndarray, step: int, mesh: Mesh
) -> Iterator[Batch]:
    """The batches from a step on, on the devices; each kind of question runs through epochs of its own.

    Args:
        videos: features f32[v t k d].
        rows: of the video of each question, i64[q].
    """
    kinds = [np.flatnonzero(questions.type == 0), np.flatnonzero(questions.type != 0)]
    sizes = batch_sizes(config.batch_size, len(kinds[0]), len(kinds[1]), mesh.size)
    orders = [
        epochs(len(places), size, config.seed + kind, step) if size else None
        for kind, (places, size) in enumerate(zip(kinds, sizes))
    ]
    sharding = NamedSharding(mesh, SHARDED)
    while True:
        chosen = [None if order is None else places[next(order)] for order, places in zip(orders, kinds)]
        parts = (
            None if places is None else make_part(select(questions, places), videos[rows[places]], places)
            for places in chosen
        )
        yield jax.device_put(Batch(*parts), sharding)


def batch_sizes(batch_size: int, num_descriptive: int, num_choice: int, num_devices: int) -> tuple[int, int]:
    """Questions of each kind in a batch: in the proportion of the data, at least one, a multiple of the devices."""
    share = num_descriptive / (num_descriptive + num_choice)
    sizes = (
        max(1, round(portion / num_devices)) * num_devices if number else 0
        for number, portion in ((num_descriptive, batch_size * share), (num_choice, batch_size * (1 - share)))
    )
    return tuple(sizes)


def make_part(questions: Questions, videos: np.ndarray, places: np.ndarray) -> Part:
    """Questions of one kind, and their videos, as the model takes them."""
    if questions.type[0] == 0:
        choice_words = np.zeros((len(places), 1, CHOICE_LENGTH), np.int32)
        target = questions.answer[:, None]
    else:
        choice_words, target = questions.choice_words, questions.is_correct
    return Part(videos, questions.words, choice_words, target, places.astype(np.uint32))


class Logits(NamedTuple):
    """What the model says to questions q; what it says to those of the other kind is zero."""

    answer: np.ndarray  # f32[q 22]
    choice: np.ndarray  # f32[q 4]


def make_answering(config: VQAConfig) -> Callable[[Any, Questions, np.ndarray, np.ndarray], Logits]:
    """Returns `(params, questions, videos, rows) -> Logits`, with the fixed frames and order of evaluation."""
    model = ALOE(config.model)

    def frames(videos):
        count, stride = config.model.num_frames, config.frame_stride
        return jax.vmap(lambda video: slots.evaluation_frames(video, count, stride))(videos)

    @jax.jit
    def answer(params, videos, words, choices):
        return model.apply({"params": params}, frames(videos), words, method="answer")

    @jax.jit
    def judge(params, videos, words, choices):
        return model.apply({"params": params}, frames(videos), words, choices, method="judge")

    def run(params, questions, videos, rows):
        number = len(questions.type)
        logits = Logits(*(np.zeros((number, size), np.float32) for size in (NUM_ANSWERS, MAX_CHOICES)))
        is_descriptive = questions.type == 0
        for kind, ask, of_kind, size in (
            (0, answer, is_descriptive, EVALUATION_BATCH),
            (1, judge, ~is_descriptive, EVALUATION_BATCH // MAX_CHOICES),
        ):
            places = np.flatnonzero(of_kind)
            for start in range(0, len(places), size):
                taken = places[start : start + size]
                padded = np.resize(taken, size)  # one shape, one compilation
                said = ask(
                    params, videos[rows[padded]], questions.words[padded], questions.choice_words[padded]
                )
                logits[kind][taken] = np.asarray(said)[: len(taken)]
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
