"""The slots that a model expects after the last frame of a video, for questions about what happens next.

Source: SlotFormer (Wu et al., ICLR 2023) answers predictive questions from CLEVRER's 128 frames and 32 of its own
rollout; the paper's ODDN answers them from the observed frames alone.
"""

import functools

import jax
import numpy as np

from experiments.runs.trained import Trained
from experiments.vqa.feature_files import Arrays
from oddn_jax import ODDN, compiler_options
from oddn_jax.models import model_name

BATCH = 64  # videos


def check_model(found: Trained) -> None:
    """Raises ValueError unless the model rolls out slots with their dynamics."""
    if not isinstance(found.model, ODDN):
        raise ValueError(
            f"{found.name}: {model_name(type(found.model))} rolls out no dynamics: config.rollout_frames must be 0"
        )


def append(found: Trained, arrays: Arrays, gap: int, num_frames: int) -> Arrays:
    """Latents f32[v t k l] and dynamics f32[v t k d] of a split, and of `num_frames` frames more.

    Each of the last `gap` frames is rolled out with the frame `gap` before it, the gap of training, so that the frames
    that follow are as far from each other as the observed ones.

    Raises:
        ValueError: the model rolls out no slots, or the videos are too short.
    """
    check_model(found)
    latents = arrays["latents"]
    if latents.shape[1] < 2 * gap:
        raise ValueError(
            f"the videos have {latents.shape[1]} frames: a rollout starts from two that are {gap} apart"
        )
    num_steps = -(-num_frames // gap)

    @functools.partial(jax.jit, compiler_options=compiler_options())
    def roll(params, previous, current):
        # One step more: dynamics belong to the frame before the one that is predicted from them.
        rolled, dynamics, *_ = found.model.apply(
            found.model.to_variables(params),
            previous,
            current,
            num_steps + 1,
            found.model.config.rollout_mode,
            method="roll_latents",
        )
        return {"latents": rolled[:, :, :-1], "dynamics": dynamics[:, :, 1:]}

    parts: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(latents), BATCH):
        last = latents[start : start + BATCH, -2 * gap :]
        for name, values in jax.device_get(roll(found.params, last[:, :gap], last[:, gap:])).items():
            in_order = np.swapaxes(values, 1, 2)  # [v g s k d], the s-th of each phase after each other
            frames = in_order.reshape(len(values), -1, *values.shape[3:])
            parts.setdefault(name, []).append(frames[:, :num_frames])
    longer = {
        name: np.concatenate([arrays[name], np.concatenate(of_name)], 1) for name, of_name in parts.items()
    }
    return arrays | longer
