"""Numbers that say how well, and how, a model decomposes and predicts."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from oddn_jax.distributions import slot_kl
from oddn_jax.model import Outputs


def mse(prediction: Float[Array, "*b h w c"], target: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
    """Mean squared error of each frame over pixels and colours, for pixels in [0, 1]."""
    return ((prediction - target) ** 2).mean((-3, -2, -1))


def slot_usage(slot_masks: Float[Array, "*b k h w 1"]) -> Float[Array, "*b"]:
    """Number of slots that are the largest one somewhere in the frame, 1 to k."""
    winner = slot_masks[..., 0].argmax(-3)
    used = jax.nn.one_hot(winner, slot_masks.shape[-4]).any((-3, -2))
    return used.sum(-1).astype(slot_masks.dtype)


def mask_entropy(slot_masks: Float[Array, "*b k h w 1"]) -> Float[Array, "*b"]:
    """Mean over pixels of the entropy of the masks, as a share of its largest value log k: 0 decided, 1 shared by all."""
    entropy = jax.scipy.special.entr(slot_masks).sum(-4).mean((-3, -2, -1))
    return entropy / jnp.log(max(slot_masks.shape[-4], 2))


def training_diagnostics(outputs: Outputs, video: Float[Array, "b t h w 3"]) -> dict[str, Float[Array, ""]]:
    """What to watch while training: a collapse shows here in the first thousand steps, and hardly in the loss.

    Returns:
      By name, means over the batch: `mse` of the last reconstruction, `mse_copy_last` of repeating the frame before (the
      reference for `mse_predicted`), `slot_usage`, `mask_entropy`, and the least and largest KL of a slot in nats.
    """
    inference = outputs.inference
    kl = slot_kl(inference.posterior)
    return {
        "mse": mse(inference.decoded.reconstruction, video).mean(),
        "mse_copy_last": mse(video[:, 1:-1], video[:, 2:]).mean(),
        "slot_usage": slot_usage(inference.decoded.slot_masks).mean(),
        "mask_entropy": mask_entropy(inference.decoded.slot_masks).mean(),
        "slot_kl_min": kl.min(-1).mean(),
        "slot_kl_max": kl.max(-1).mean(),
    }
