"""What the numbers called dynamics mean: how well a linear map reads an object's velocity in the image from them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# A slot stands for an object in a frame when their masks overlap by more than this share of their union, of which the
# background is no part. Above one half no slot can stand for two objects, nor two slots for one. Source: our choice.
MATCH_THRESHOLD = 0.5
MIN_SAMPLES = 50  # of either half; ten for each number that is fitted. Source: our choice


class Samples(NamedTuple):
    """The slots of one clip that stand for an object whose velocity is known, one row for each and frame."""

    dynamics: np.ndarray  # f32[m d]
    velocity: np.ndarray  # f32[m 2], pixels per clip frame, x then y


class Fit(NamedTuple):
    """Coefficients of determination on held-out clips: 1 for a linear map without error, 0 for no better than the mean.

    None where there are too few samples, or where the held-out velocities do not vary.
    """

    r2_x: float | None
    r2_y: float | None
    r2: float | None  # of both components together, each weighted by its variance
    num_fitted: int  # samples
    num_held_out: int


def matched_samples(
    overlap: np.ndarray, dynamics: np.ndarray, object_id: np.ndarray, velocity: np.ndarray
) -> Samples:
    """Pairs the dynamics of a clip's slots with the velocities of the objects that they stand for, frame by frame.

    Args:
        overlap: intersection over union, within the foreground, of the masks of label i and slot j in each frame,
            f32[t i j]; label 0 is the background, the others are object_id + 1.
        dynamics: of each frame but the first, f32[t-1 k d].
        object_id: i32[n], padded with -1.
        velocity: f32[t n 2], NaN where it is unknown or the object is out of view.

    Raises:
        ValueError: the arrays do not fit together, or the dynamics are not finite.
    """
    num_frames, num_labels, num_objects = len(overlap), overlap.shape[1], len(object_id)
    if (
        dynamics.ndim != 3
        or len(dynamics) != num_frames - 1
        or velocity.shape != (num_frames, num_objects, 2)
    ):
        shapes = ", ".join(str(list(x.shape)) for x in (overlap, dynamics, object_id, velocity))
        raise ValueError(f"overlap, dynamics, object_id and velocity do not fit together: {shapes}")
    if num_objects and not -1 <= object_id.min() <= object_id.max() < num_labels - 1:
        raise ValueError(
            f"objects are numbered {object_id.min()} to {object_id.max()}, labels 0 to {num_labels - 1}"
        )
    if not np.isfinite(dynamics).all():
        raise ValueError("dynamics are not finite: the model is broken")
    overlap = overlap[1:, object_id + 1, : dynamics.shape[1]]
    velocity = velocity[1:]
    known = (object_id >= 0) & np.isfinite(velocity).all(-1) & (overlap.max(-1) > MATCH_THRESHOLD)
    of_objects = np.take_along_axis(dynamics, overlap.argmax(-1)[..., None], axis=1)
    return Samples(of_objects[known], velocity[known])


def fit_velocity(clips: Sequence[Samples]) -> Fit:
    """Fits velocity = dynamics @ matrix + constant by least squares on the first half of the clips, tests on the rest.

    Source: our choice; the paper shows dynamics only through what is predicted from them.

    Raises:
        ValueError: a number is not finite.
    """
    if not all(np.isfinite(values).all() for clip in clips for values in clip):
        raise ValueError("dynamics and velocities must be finite")
    halves = clips[: len(clips) // 2], clips[len(clips) // 2 :]
    sizes = [sum(len(clip.velocity) for clip in half) for half in halves]
    if min(sizes) < MIN_SAMPLES:
        return Fit(None, None, None, *sizes)
    (inputs, outputs), (test_inputs, test_outputs) = (
        (
            np.concatenate(
                [np.pad(c.dynamics, ((0, 0), (0, 1)), constant_values=1) for c in half], dtype=float
            ),
            np.concatenate([clip.velocity for clip in half], dtype=float),
        )
        for half in halves
    )
    matrix = np.linalg.lstsq(inputs, outputs)[0]
    residual = ((test_outputs - test_inputs @ matrix) ** 2).sum(0)
    variation = ((test_outputs - test_outputs.mean(0)) ** 2).sum(0)
    pairs = [*zip(residual, variation), (residual.sum(), variation.sum())]
    return Fit(*(float(1 - left / all_) if all_ > 0 else None for left, all_ in pairs), *sizes)
