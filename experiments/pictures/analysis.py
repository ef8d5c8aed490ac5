"""What figures and predictions are computed from: slots followed through a clip, and the numbers behind the pictures.

Positions are pixels, x to the right, then y downward.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.optimize import linear_sum_assignment

import oddn_jax
from experiments.machine import compiled


class Observation(NamedTuple):
    """What a model makes of a clip, and what it predicts from the clip's first frames.

    Record fields have their usual shapes; those that need two frames begin with the clip's second. What a model does
    not have is None: the slots' pictures and masks, dynamics and interactions, the future.
    """

    latents: np.ndarray | None  # f32[*b t k l]
    decoded: oddn_jax.Decoded  # of all t frames
    distillation: oddn_jax.Distillation | None  # of frames 2..t
    interaction: oddn_jax.Interaction | None  # of frames 2..t
    future: oddn_jax.Rollout | None  # of the frames after the first `num_context_frames`


class Traversal(NamedTuple):
    """What each dynamics dimension of one slot does to the next frame; `v` counts the values tried."""

    values: np.ndarray  # f32[d v]
    decoded: oddn_jax.Decoded  # [d v ...]
    centroid: np.ndarray  # f32[d v 2] pixels, of the slot's mask
    velocity: (
        np.ndarray
    )  # f32[d 2] pixels per frame and unit of dynamics: the slope of the centroid over the value


@compiled.jit(static_argnums=(0, 3))
def observe(
    model: oddn_jax.VideoModel, params: Any, video: jax.Array, num_predicted: int | None = None
) -> Observation:
    """Looks at all frames of clips f32[b t h w 3], and predicts those after the first `num_context_frames`.

    Args:
        num_predicted: frames to predict after all of the clip's, instead of its own.
    """
    observed = model.num_context_frames if num_predicted is None else video.shape[1]
    if num_predicted is None:
        num_predicted = video.shape[1] - observed
    if has_dynamics(model):
        return _observe_dynamics(model, params, video, observed, num_predicted)
    keys = jax.random.split(jax.random.key(0), len(video))
    seen = model.look(params, video, keys, num_predicted=num_predicted, num_observed=observed)
    decoded = oddn_jax.Decoded(seen.slot_rgb, None, seen.slot_masks, seen.reconstruction)
    future = None
    if seen.predicted is not None:
        predicted = oddn_jax.Decoded(None, None, seen.predicted_masks, seen.predicted)
        future = oddn_jax.Rollout(None, None, predicted, None, None)
    return Observation(seen.latents, decoded, None, None, future)


def has_dynamics(model: oddn_jax.VideoModel) -> bool:
    """Whether a model distils dynamics and lets slots interact, as ODDN does."""
    return hasattr(model, "distill") and hasattr(model, "interact")


def _observe_dynamics(
    model: oddn_jax.VideoModel, params: Any, video: jax.Array, observed: int, num_predicted: int
) -> Observation:
    """The rollout starts from the inferred latents, so that its slots are those of the last observed frame."""

    def call(*arguments, **options):
        return model.apply(model.to_variables(params), *arguments, **options)

    deterministic = not model.config.sample_at_test
    inference = call(video, jax.random.key(0), deterministic=deterministic, method="infer")
    latents = inference.latents
    distillation = call(latents, method="distill")
    interaction = call(distillation.dynamics, latents[:, 1:], method="interact")
    future = call(latents[:, :observed], num_steps=num_predicted, method="rollout")
    return Observation(latents, inference.decoded, distillation, interaction, future)


@compiled.jit(static_argnums=0, static_argnames="method")
def apply(model: oddn_jax.VideoModel, params: Any, *arguments: jax.Array, method: str) -> Any:
    """Calls a method of the model, compiled."""
    return model.apply(model.to_variables(params), *arguments, method=method)


def has_background(model: oddn_jax.VideoModel) -> bool:
    """Whether a model's first slot is the background's, as `ODDNConfig.background_slot` makes it."""
    return bool(getattr(model.config, "background_slot", 0))


def follow_slots(decoded: oddn_jax.Decoded, background: bool = False) -> np.ndarray:
    """The slot of each frame that goes on with each slot of the first frame: i64[t k], a permutation per frame.

    Frames are inferred one by one, so that their slots come in no common order. Consecutive frames are matched one to
    one at the least sum of (1 - overlap of the soft masks) + (distance of the slots' mean colours): the overlap tells
    slow objects apart, the colour those that move too fast to overlap. With `background` the first slot goes on as the
    first.

    Source: our choice. The distillation's own attention would not do: it is many to one, and what it has not learned
    yet would scramble the pictures.
    """
    masks = decoded.slot_masks[..., 0]
    flat = masks.reshape(*masks.shape[:2], -1)
    weights = decoded.slot_masks / np.maximum(decoded.slot_masks.sum((-3, -2), keepdims=True), 1e-6)
    colors = (weights * decoded.slot_rgb).sum((-3, -2))
    order = [np.arange(masks.shape[1])]
    for frame in range(1, len(masks)):
        before = order[-1]
        shared = flat[frame - 1, before] @ flat[frame].T
        joint = flat[frame - 1, before].sum(-1)[:, None] + flat[frame].sum(-1) - shared
        distance = np.linalg.norm(colors[frame - 1, before, None] - colors[frame], axis=-1)
        cost = distance - shared / np.maximum(joint, 1e-6)
        first = int(background)
        others = first + linear_sum_assignment(cost[first:, first:])[1]
        order.append(np.concatenate([np.arange(first), others]))
    return np.stack(order)


def align(observation: Observation, num_observed: int, background: bool = False) -> Observation:
    """Puts the slots of one clip, without a batch axis, in the order of its first frame's.

    Args:
        num_observed: frames in front of the rollout, whose slots are in the order of the last of them.
        background: of `has_background`, for the model that has observed.
    """
    if observation.decoded.slot_masks is None:
        return observation
    order = follow_slots(observation.decoded, background)
    distillation, interaction = observation.distillation, observation.interaction
    if distillation is not None:
        later = order[1:]
        distillation = oddn_jax.Distillation(
            _take(distillation.dynamics, later),
            _take_matches(distillation.match_attention, order[:-1], later),
        )
        interaction = oddn_jax.Interaction(
            _take(interaction.updated_dynamics, later),
            _take_pairs(interaction.pair_attention, later),
            _take_pairs(interaction.pair_effect, later),
        )
    return Observation(
        latents=_take(observation.latents, order),
        decoded=_take_decoded(observation.decoded, order),
        distillation=distillation,
        interaction=interaction,
        future=observation.future and _align_future(observation.future, order[num_observed - 1]),
    )


def _align_future(future: oddn_jax.Rollout, last: np.ndarray) -> oddn_jax.Rollout:
    order = np.broadcast_to(last, (len(future.decoded.reconstruction), len(last)))
    return oddn_jax.Rollout(
        _take(future.latents, order),
        _take(future.dynamics, order),
        _take_decoded(future.decoded, order),
        _take_pairs(future.pair_attention, order),
        _take_matches(future.match_attention, order, order),
    )


def _take(x: np.ndarray | None, order: np.ndarray, axis: int = 1) -> np.ndarray | None:
    """Reorders the slots of x [t ... k ...], whose axis is given, frame by frame."""
    if x is None:
        return None
    shape = [len(order)] + [1] * (x.ndim - 1)
    shape[axis] = order.shape[1]
    return np.take_along_axis(x, order.reshape(shape), axis)


def _take_decoded(decoded: oddn_jax.Decoded, order: np.ndarray) -> oddn_jax.Decoded:
    by_slot = (decoded.slot_rgb, decoded.slot_mask_logits, decoded.slot_masks)
    return oddn_jax.Decoded(*(_take(x, order) for x in by_slot), decoded.reconstruction)


def _take_pairs(x: np.ndarray, order: np.ndarray) -> np.ndarray:
    return _take(_take(x, order), order, axis=2)


def _take_matches(x: np.ndarray, before: np.ndarray, order: np.ndarray) -> np.ndarray:
    return _take(_take(x, order), np.concatenate([before, order + before.shape[1]], 1), axis=2)


def centroids(slot_masks: np.ndarray) -> np.ndarray:
    """The centre of mass of each mask, f32[*b h w 1] to f32[*b 2] in pixels; the picture's centre for an empty one."""
    mask = slot_masks[..., 0] + 1e-9
    height, width = mask.shape[-2:]
    total = mask.sum((-2, -1))
    x = (mask.sum(-2) * np.arange(width)).sum(-1) / total
    y = (mask.sum(-1) * np.arange(height)).sum(-1) / total
    return np.stack([x, y], -1)


def moving_slot(slot_masks: np.ndarray, background: bool = False) -> int:
    """The slot f32[t k h w 1] whose centre travels farthest, but the background's, else the largest, left out."""
    areas = slot_masks.sum((0, 2, 3, 4))
    travelled = np.linalg.norm(np.diff(centroids(slot_masks), axis=0), axis=-1).sum(0)
    left_out = 0 if background else areas.argmax()
    return int(np.where(np.arange(len(areas)) == left_out, -1, travelled).argmax())


def slots_of_objects(
    slot_masks: np.ndarray, segmentation: np.ndarray, object_ids: tuple[int, ...]
) -> tuple[int, ...] | None:
    """The slots that show objects, by the best one-to-one match of all labels to slots; None if one has no slot.

    A slot shows an object if its mask is the largest in more than half of the object's pixels.

    Args:
        slot_masks: f32[k h w 1].
        segmentation: u8[h w], 0 background, object_id + 1.
        object_ids: the objects asked for.
    """
    labels = np.unique(segmentation)
    regions = (segmentation == labels[:, None, None]).reshape(len(labels), -1).astype(np.float64)
    masks = slot_masks.reshape(len(slot_masks), -1)
    shared = regions @ masks.T
    overlap = shared / np.maximum(regions.sum(1)[:, None] + masks.sum(1) - shared, 1e-6)
    largest = masks.argmax(0) == np.arange(len(masks))[:, None]
    shows = regions @ largest.T > regions.sum(1)[:, None] / 2
    slot_of = {
        int(labels[row]) - 1: int(slot)
        for row, slot in zip(*linear_sum_assignment(-overlap))
        if shows[row, slot]
    }
    slots = tuple(slot_of.get(object_id) for object_id in object_ids)
    return None if None in slots else slots


def strongest_pair(pair_attention: np.ndarray) -> tuple[int, int]:
    """Receiver and sender of the highest attention f32[t k k] in any frame."""
    return tuple(
        int(slot) for slot in np.unravel_index(pair_attention.max(0).argmax(), pair_attention.shape[1:])
    )


def pair_series(pair_attention: np.ndarray, pair: tuple[int, int]) -> np.ndarray:
    """How much two slots attend to each other, the mean of both directions: f32[t k k] to f32[t]."""
    first, second = pair
    return (pair_attention[:, first, second] + pair_attention[:, second, first]) / 2


def traverse(
    predict: Callable,
    decode: Callable,
    latents: np.ndarray,
    dynamics: np.ndarray,
    slot: int,
    values: np.ndarray,
) -> Traversal:
    """Varies one dynamics dimension of one slot at a time, and measures where the slot is in the next frame.

    Args:
        predict: (updated dynamics [*b k d], latents [*b k l]) -> latents of the next frame.
        decode: latents [*b k l] -> Decoded.
        latents: f32[k l] of a frame.
        dynamics: f32[k d], updated by the interactions.
        slot: which one.
        values: f32[d v], tried in place of the slot's own.

    Source: paper Figure 10 (c).
    """
    num_dimensions, num_values = values.shape
    varied = np.broadcast_to(dynamics, (num_dimensions, num_values, *dynamics.shape)).copy()
    for dimension in range(num_dimensions):
        varied[dimension, :, slot, dimension] = values[dimension]
    following = predict(varied, np.broadcast_to(latents, (num_dimensions, num_values, *latents.shape)))
    decoded = jax.device_get(decode(following))
    centroid = centroids(decoded.slot_masks[:, :, slot])
    spread = values - values.mean(1, keepdims=True)
    slope = (spread[..., None] * centroid).sum(1) / np.maximum((spread**2).sum(1), 1e-12)[:, None]
    return Traversal(values, decoded, centroid, slope)


def prediction_errors(video: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean squared errors f32[b s] of predicted frames, and of repeating the last observed frame instead.

    Args:
        video: f32[b t h w 3], ends with the frames that were to be predicted.
        predicted: f32[b s h w 3].
    """
    observed = video.shape[1] - predicted.shape[1]
    truth, last = video[:, observed:], video[:, observed - 1 : observed]
    return ((predicted - truth) ** 2).mean((-3, -2, -1)), ((last - truth) ** 2).mean((-3, -2, -1))
