"""A change, thought through by the model: other latents, other dynamics, and the frames that follow from them."""

from typing import NamedTuple

import numpy as np

import oddn_jax
from experiments.exploring import changes
from experiments.exploring.belief import CHUNK, Belief, Thinker
from experiments.exploring.changes import Change
from experiments.pictures.analysis import centroids

ROUNDS = 2  # of moving a slot: each finds the way, and how far along it
NUDGE = 0.05  # of a latent, to see where it moves the slot
SOFTEST = (
    0.05  # pixels per unit: a direction in which a slot moves less than that for its numbers is left alone
)
STRENGTH = 4.0  # units; no dynamics is pushed by more, no latent moved by more at once


class Start(NamedTuple):
    """Where a rollout starts, changed."""

    slots: tuple[int, ...]  # the numbers of the k slots: those of the clip that are left, then copies
    latents: np.ndarray  # f32[2 k l] of the frame before and of the frame itself
    dynamics: np.ndarray  # f32[k d] of the frame


class Imagined(NamedTuple):
    """What the model makes of a change."""

    start: Start
    decoded: oddn_jax.Decoded  # [s+1 k ...] the changed frame, then the s frames after it
    rollout: oddn_jax.Rollout  # of the s frames


def imagine(thinker: Thinker, belief: Belief, change: Change) -> Imagined:
    """Thinks a change through; of a model with dynamics."""
    start = begin(thinker, belief, change)
    rollout = thinker.roll(start.latents, start.dynamics, change.num_steps, change.relation)
    after = oddn_jax.Decoded(*(x[1:] for x in rollout.decoded))
    return Imagined(start, rollout.decoded, rollout._replace(decoded=after))


def begin(thinker: Thinker, belief: Belief, change: Change) -> Start:
    """Applies the edits: first those of what is there, then, once its dynamics are distilled, those of how it moves."""
    latents = belief.seen.latents[change.frame - 1 : change.frame + 1].copy()
    for edit in change.edits:
        row = edit.slot  # of all slots, the removed ones too, and the copies behind them
        match edit:
            case changes.Double():
                latents = np.concatenate([latents, latents[:, row : row + 1]], 1)
                latents = moved(thinker, latents, latents.shape[1] - 1, edit.offset)
            case changes.Move():
                latents = moved(thinker, latents, row, edit.offset)
            case changes.Slide():
                latents[:, row, edit.dimension] += edit.value - latents[1, row, edit.dimension]
    # Only now, so that what a removed slot was moved by before is no other slot's trouble.
    left = [slot for slot in range(latents.shape[1]) if changes.Remove(slot) not in change.edits]
    latents = latents[:, left]
    dynamics = thinker.distil(latents)
    return Start(tuple(left), *_set_in_motion(thinker, belief, change, left, latents, dynamics))


def _set_in_motion(thinker, belief, change, slots, latents, dynamics) -> tuple[np.ndarray, np.ndarray]:
    for edit in change.edits:
        if isinstance(edit, changes.Remove | changes.Double):
            continue
        row = slots.index(edit.slot)
        match edit:
            case changes.Push():
                slope = thinker.velocity_of_dynamics(latents[1], dynamics, row, belief.spread)
                dynamics[row] += numbers_for(slope, edit.velocity)
            case changes.Turn():
                dynamics[row, edit.dimension] = edit.value
            case changes.Follow():
                dynamics[row] = dynamics[slots.index(edit.other)]
            case changes.Swap():
                rows = [row, slots.index(edit.other)]
                latents[:, rows] = latents[:, rows[::-1]]
    return latents, dynamics


def numbers_for(slope: np.ndarray, wanted: tuple[float, float]) -> np.ndarray:
    """The least change f32[d] of a slot's numbers that moves it as wanted, pixels, where its slope f32[d 2] allows."""
    left, strengths, right = np.linalg.svd(slope.T.astype(np.float64), full_matrices=False)
    inverse = np.where(strengths > SOFTEST, 1 / np.maximum(strengths, SOFTEST), 0)
    change = right.T @ (inverse * (left.T @ np.asarray(wanted)))
    return (change * min(1, STRENGTH / max(np.abs(change).max(), 1e-9))).astype(np.float32)


def moved(thinker: Thinker, latents: np.ndarray, row: int, offset: tuple[float, float]) -> np.ndarray:
    """Latents f32[2 k l] whose slot changed, in both frames by as much, so that its mask's centre moves by an offset.

    Twice the way that its latents move it, found by differences, and the length that comes nearest. Our choice: the
    paper moves no slot. What the decoder cannot draw elsewhere stays short of it.
    """
    if not any(offset):
        return latents
    key = "moved", latents.tobytes(), row, offset
    return thinker.remember(key, lambda: _moved(thinker, latents.copy(), row, np.asarray(offset)))


def _moved(thinker: Thinker, latents: np.ndarray, row: int, offset: np.ndarray) -> np.ndarray:
    count = latents.shape[-1]
    target = here = None
    for _ in range(ROUNDS):
        nudged = np.repeat(latents[1:], 2 * count, 0)
        nudged[np.arange(count), row, np.arange(count)] += NUDGE
        nudged[count + np.arange(count), row, np.arange(count)] -= NUDGE
        centres = _centres(thinker, nudged, row)
        if target is None:
            here = centres.mean(0)
            target = here + offset
        way = numbers_for((centres[:count] - centres[count:]) / (2 * NUDGE), target - here)
        lengths = np.linspace(0, 1.5, CHUNK, dtype=np.float32)
        tried = np.repeat(latents[1:], CHUNK, 0)
        tried[:, row] += lengths[:, None] * way
        centres = _centres(thinker, tried, row)
        best = np.linalg.norm(centres - target, axis=-1).argmin()
        latents[:, row] += lengths[best] * way
        here = centres[best]
    return latents


def _centres(thinker: Thinker, latents: np.ndarray, row: int) -> np.ndarray:
    return centroids(thinker.decode(latents).slot_masks[:, row])
