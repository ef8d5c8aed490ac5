"""What a model believes of a clip and of what comes next, in few shapes, so that a gesture compiles nothing."""

import collections
import dataclasses
import threading
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

import oddn_jax
from experiments.evaluation.probe import MATCH_THRESHOLD
from experiments.exploring.clips import Clip
from experiments.machine import compiled
from experiments.pictures import analysis, forecast
from experiments.pictures.analysis import Observation, centroids

CHUNK = 16  # frames decoded at a time, and the lengths of what is predicted: this many, or a multiple
MOST_CHUNKS = 4
MOST_KEPT = 256  # small arrays that gestures need again
SPREAD = 1.5  # of the dynamics tried to see where they lead, in standard deviations of the clip's


class Belief(NamedTuple):
    """What the model makes of a clip; slots in one order throughout. None for what it does not have."""

    seen: Observation  # of all frames; without a future
    expected: (
        np.ndarray | None
    )  # f32[t-1 k 2] pixels: where each slot's dynamics take its centre, frames 2..t
    spread: np.ndarray | None  # f32[d] of the clip's dynamics
    objects: tuple[Mapping[int, int], ...] | None  # of each frame: from slot to the object_id that it shows


class Thinker:
    """A model and the compiled functions that the page asks of it.

    Arrays of k slots are of any number of slots, and compiled once for each. Two threads never compile the same.
    """

    def __init__(self, model: oddn_jax.VideoModel, params: Any):
        self.model, self.params = model, params
        self.has_dynamics = analysis.has_dynamics(model)
        self._locks: dict[tuple, threading.Lock] = {}
        self._guard = threading.Lock()
        self._kept: collections.OrderedDict[tuple, np.ndarray] = collections.OrderedDict()

    def believe(self, clip: Clip) -> Belief:
        """Looks at a clip."""
        video, background = clip.video, analysis.has_background(self.model)
        if not self.has_dynamics:
            seen = jax.device_get(analysis.observe(self.model, self.params, video[None] / np.float32(255), 0))
            seen = jax.tree.map(lambda x: x[0], seen._replace(future=None))
            seen = analysis.align(seen, len(video), background)
            return Belief(seen, None, None, _objects(seen, clip))
        latents, decoded = self.infer(video)
        rows = -len(latents) % CHUNK  # filled up, so that clips of many lengths are compiled once
        filled = np.pad(latents, ((0, rows), (0, 0), (0, 0)), mode="edge")
        distillation, interaction = self._call(_relate, filled)
        distillation, interaction = jax.tree.map(lambda x: x[: len(video) - 1], (distillation, interaction))
        seen = analysis.align(
            Observation(latents, decoded, distillation, interaction, None), len(video), background
        )
        latents, dynamics = seen.latents, seen.distillation.dynamics
        following = self.decode(self.predict(dynamics, latents[1:]))
        expected = centroids(following.slot_masks) - centroids(seen.decoded.slot_masks[1:])
        return Belief(seen, expected.astype(np.float32), dynamics.std((0, 1)), _objects(seen, clip))

    def infer(self, video: np.ndarray) -> tuple[np.ndarray, oddn_jax.Decoded]:
        """Latents f32[t k l] and pictures of a video u8[t h w 3], the slots of each frame in its own order."""
        with self._lock("infer"):
            return forecast.infer(self.model, self.params, video)

    def foresee(self, video: np.ndarray, num_steps: int) -> Observation:
        """Of a model without dynamics: what it sees in frames u8[t h w 3], and the frames after them."""
        clip = video[None] / np.float32(255)
        with self._lock("observe", len(video), num_steps):
            seen = jax.device_get(analysis.observe(self.model, self.params, clip, num_steps))
        seen = jax.tree.map(lambda x: x[0], seen)
        return analysis.align(seen, len(video), analysis.has_background(self.model))

    def distil(self, latents: np.ndarray) -> np.ndarray:
        """The dynamics f32[k d] of the second of two frames' latents f32[2 k l]."""
        return self._call(_distil, latents).dynamics[0].copy()

    def predict(self, dynamics: np.ndarray, latents: np.ndarray) -> np.ndarray:
        """Latents of the frames after each of f32[t k l] by dynamics f32[t k d], without interactions."""
        return self._in_chunks(_predict, dynamics, latents)

    def decode(self, latents: np.ndarray) -> oddn_jax.Decoded:
        """Pictures of latents f32[t k l]."""
        return self._in_chunks(_decode, latents)

    def roll(
        self, latents: np.ndarray, dynamics: np.ndarray, num_steps: int, use_relation: bool
    ) -> oddn_jax.Rollout:
        """The frames from the second of two on, latents f32[2 k l], which moves by dynamics f32[k d].

        Returns:
            `num_steps` frames after it; but its pictures have one more, that of the frame itself in front.
        """
        use_relation = use_relation and self.model.config.use_relation
        steps = self._call(_roll, latents, dynamics, num_steps=num_steps, use_relation=use_relation)
        following, dynamics, pair_attention, match_attention = steps
        decoded = self.decode(np.concatenate([latents[1:], following]))
        return oddn_jax.Rollout(following, dynamics, decoded, pair_attention, match_attention)

    def velocity_of_dynamics(
        self, latents: np.ndarray, dynamics: np.ndarray, row: int, spread: np.ndarray
    ) -> np.ndarray:
        """How a slot's centre in the next frame follows its dynamics: f32[d 2], pixels per frame and unit.

        A linear map fitted to where the slot is drawn when one of its numbers is varied (Figure 10 (c)).

        Args:
            latents: f32[k l] of the frame.
            dynamics: f32[k d].
            row: which of the k.
            spread: f32[d] of usual dynamics.
        """
        key = "velocity", latents.tobytes(), dynamics.tobytes(), row
        return self.remember(key, lambda: self._slope(latents, dynamics, row, spread))

    def _slope(self, latents, dynamics, row, spread) -> np.ndarray:
        tried = np.linspace(-SPREAD, SPREAD, 4, dtype=np.float32)
        values = dynamics[row, :, None] + np.maximum(spread, 0.05)[:, None] * tried

        def flat(function, *arrays):
            pieces = function(*(x.reshape(-1, *x.shape[2:]) for x in arrays))
            return jax.tree.map(lambda x: x.reshape(*values.shape, *x.shape[1:]), pieces)

        found = analysis.traverse(
            lambda *arrays: flat(self.predict, *arrays),
            lambda latents: flat(self.decode, latents),
            latents,
            dynamics,
            row,
            values,
        )
        return found.velocity

    def remember(self, key: Hashable, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """What `compute` gives, or gave lately under this key: of gestures that go on, only the last step is new."""
        with self._guard:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        value = compute()
        with self._guard:
            self._kept[key] = value
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return value

    def _in_chunks(self, function: Any, *arrays: np.ndarray) -> Any:
        count = len(arrays[0])
        parts = []
        for start in range(0, count, CHUNK):
            rows = [x[start : start + CHUNK] for x in arrays]
            missing = CHUNK - len(rows[0])
            filled = [np.pad(x, ((0, missing), *[(0, 0)] * (x.ndim - 1)), mode="edge") for x in rows]
            parts.append(self._call(function, *filled))
        return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *parts)

    def _call(self, function: Any, *arrays: np.ndarray, **options: Any) -> Any:
        with self._lock(function.__name__, *(x.shape for x in arrays), *options.values()):
            return jax.device_get(function(self.model, self.params, *arrays, **options))

    def _lock(self, *shape: Any) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(shape, threading.Lock())


@compiled.jit(static_argnums=0)
def _distil(model: oddn_jax.VideoModel, params: Any, latents: jax.Array) -> oddn_jax.Distillation:
    return model.apply(model.to_variables(params), latents, method="distill")


@compiled.jit(static_argnums=0)
def _relate(model: oddn_jax.VideoModel, params: Any, latents: jax.Array):
    distillation = model.apply(model.to_variables(params), latents, method="distill")
    arguments = distillation.dynamics, latents[1:]
    return distillation, model.apply(model.to_variables(params), *arguments, method="interact")


@compiled.jit(static_argnums=0)
def _predict(model: oddn_jax.VideoModel, params: Any, dynamics: jax.Array, latents: jax.Array) -> jax.Array:
    return model.apply(model.to_variables(params), dynamics, latents, method="predict_latents")


@compiled.jit(static_argnums=0)
def _decode(model: oddn_jax.VideoModel, params: Any, latents: jax.Array) -> oddn_jax.Decoded:
    return model.apply(model.to_variables(params), latents, method="decode")


@compiled.jit(static_argnums=0, static_argnames=("num_steps", "use_relation"))
def _roll(
    model: oddn_jax.VideoModel,
    params: Any,
    latents: jax.Array,
    dynamics: jax.Array,
    num_steps: int,
    use_relation: bool,
):
    if not use_relation:
        model = without_relation(model)
    arguments = latents[0], latents[1], num_steps, model.config.rollout_mode, dynamics
    return model.apply(model.to_variables(params), *arguments, method="roll_latents")


def without_relation(model: oddn_jax.VideoModel) -> oddn_jax.VideoModel:
    """The same model, of the same parameters, whose slots do not act on each other."""
    return type(model)(dataclasses.replace(model.config, use_relation=False))


def _objects(seen: Observation, clip: Clip) -> tuple[Mapping[int, int], ...] | None:
    """Which object each slot shows, frame by frame, where the clip has the truth and the model has slots."""
    if clip.segmentation is None or seen.decoded.slot_masks is None:
        return None
    masks = seen.decoded.slot_masks[..., 0]
    return tuple(objects_of_slots(found, truth) for found, truth in zip(masks.argmax(1), clip.segmentation))


def objects_of_slots(segmentation: np.ndarray, truth: np.ndarray) -> dict[int, int]:
    """From slot to the object_id that it shows: their regions i64[h w] and u8[h w] (0: none) share more than half.

    Half of their union, where objects are: of the floor a slot may have as much as it likes, and no slot shows two.
    """
    foreground, found = truth > 0, {}
    for label in np.unique(truth[foreground]):
        region = truth == label
        for slot in np.unique(segmentation[region]):
            claimed = (segmentation == slot) & foreground
            if (region & claimed).sum() > MATCH_THRESHOLD * (region | claimed).sum():
                found[int(slot)] = int(label) - 1
    return found
