"""Predictions that training makes: latents of frames to come, decoded and compared with the frames they aim at."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from oddn_jax.config import ODDNConfig
from oddn_jax.decoder import compose
from oddn_jax.distributions import mixture_nll
from oddn_jax.layers import fold


class Prediction(NamedTuple):
    """The frames that training predicts; `p` counts them, several may aim at the same frame."""

    latents: Float[Array, "*b p k l"]
    nll: Float[Array, "*b p"]  # nats per frame, unweighted
    squared_error: Float[Array, "*b p"]  # mean over pixels and colours
    target: Int[Array, " p"]  # index of the frame it aims at
    depth: Int[Array, " p"]  # 1: predicted from observed slots, 2: from predicted ones, ...


def score_predictions(
    decode: Callable,
    video: Float[Array, "b t h w 3"],
    latents: Float[Array, "b p k l"],
    target: list[int],
    depth: list[int],
    config: ODDNConfig,
) -> Prediction:
    """Decodes predicted latents as they are and compares them with the frames they aim at.

    Args:
      decode: latents -> (slot_rgb, slot_mask_logits).
      video: pixels in [0, 1].
      latents: the predictions.
      target: of each, the index of the frame it aims at.
      depth: of each, how many steps it is from observed slots.
      config: the model's.
    """

    def score(latents, frames):
        decoded = compose(*decode(latents))
        nll = mixture_nll(frames, decoded.slot_rgb, decoded.slot_masks, config.likelihood_variance)
        return nll, ((decoded.reconstruction - frames) ** 2).mean((-3, -2, -1))

    target, video = jnp.array(target, jnp.int32), fold(video, config.fold)
    return Prediction(latents, *score(latents, video[:, target]), target, jnp.array(depth, jnp.int32))
