"""Numbers that say how well, and how, a model decomposes and predicts."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

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
    """Mean over pixels of the masks' entropy as a share of its largest value, log k: 0 decided, 1 shared by all."""
    entropy = jax.scipy.special.entr(slot_masks).sum(-4).mean((-3, -2, -1))
    return entropy / jnp.log(max(slot_masks.shape[-4], 2))


def training_diagnostics(outputs: Outputs, video: Float[Array, "b t h w 3"]) -> dict[str, Float[Array, ""]]:
    """What to watch while training: a collapse shows here in the first thousand steps, and hardly in the loss.

    Returns:
      By name, means over the batch: `mse` of the last reconstruction, `mse_copy_last` of repeating the frame before
      (the reference for `mse_predicted`), `slot_usage`, `mask_entropy`, and `slot_kl_1` to `slot_kl_k`: the KL of a
      frame's slots in nats, largest first, since slots come in no common order.
    """
    inference = outputs.inference
    kl = -jnp.sort(-slot_kl(inference.posterior), -1)  # largest first
    return {
        "mse": mse(inference.decoded.reconstruction, video).mean(),
        "mse_copy_last": mse(video[:, 1:-1], video[:, 2:]).mean(),
        "slot_usage": slot_usage(inference.decoded.slot_masks).mean(),
        "mask_entropy": mask_entropy(inference.decoded.slot_masks).mean(),
        **{f"slot_kl_{rank + 1}": kl[..., rank].mean() for rank in range(kl.shape[-1])},
    }


def contingency(
    truth: Int[Array, "*b h w"], prediction: Int[Array, "*b h w"], num_labels: int
) -> Float[Array, "*b n n"]:
    """Number of pixels with each pair of labels, truth first; labels run from 0 to num_labels - 1."""
    one_hot = [jax.nn.one_hot(x.reshape(*x.shape[:-2], -1), num_labels) for x in (truth, prediction)]
    return jnp.einsum("...pi,...pj->...ij", *one_hot)


def ari(
    truth: Int[Array, "*b h w"],
    prediction: Int[Array, "*b h w"],
    num_labels: int,
    *,
    foreground_only: bool = False,
) -> Float[Array, "*b"]:
    """Adjusted Rand index of each frame: 1 for the same partition, about 0 for a random one, however labels are named.

    Args:
      truth: ground-truth labels, 0 is the background.
      prediction: predicted labels, such as the argmax over slots of `slot_masks`.
      num_labels: all labels of both lie in 0 .. num_labels - 1.
      foreground_only: leave out the pixels that truth calls background (FG-ARI, the paper's F-ARI).

    Returns:
      In [-1, 1]. Frames where it is undefined (one cluster or only single pixels on both sides; no foreground) count 1.

    Source: Hubert & Arabie 1985, as scikit-learn's adjusted_rand_score; paper A.2 for the two versions.
    """
    table = contingency(truth, prediction, num_labels)
    if foreground_only:
        table = table.at[..., 0, :].set(0)

    def pairs(counts):
        return counts * (counts - 1) / 2

    agreeing = pairs(table).sum((-2, -1))
    in_truth, in_prediction = pairs(table.sum(-1)).sum(-1), pairs(table.sum(-2)).sum(-1)
    total = pairs(table.sum((-2, -1)))
    expected = in_truth * in_prediction / jnp.maximum(total, 1)
    largest = (in_truth + in_prediction) / 2
    undefined = largest == expected
    return jnp.where(undefined, 1.0, (agreeing - expected) / jnp.where(undefined, 1.0, largest - expected))
