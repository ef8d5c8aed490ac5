"""SpatialBroadcastDecoder: one slot's latents to its picture and mask logit."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from oddn_jax.config import ODDNConfig
from oddn_jax.layers import convolution, coordinate_channels

NUM_CONVOLUTIONS = 5


class Decoded(NamedTuple):
    """What a set of slots looks like, each slot alone and all together."""

    slot_rgb: Float[Array, "*b k h w 3"]  # in (0, 1)
    slot_mask_logits: Float[Array, "*b k h w 1"]
    slot_masks: Float[Array, "*b k h w 1"]  # sum to 1 over k
    reconstruction: Float[Array, "*b h w 3"]  # in (0, 1)


def compose(slot_rgb: Float[Array, "*b k h w 3"], slot_mask_logits: Float[Array, "*b k h w 1"]) -> Decoded:
    """Lets the slots compete for each pixel and mixes their pictures.

    Source: paper Eq. 1-2: masks are the softmax of the logits over the slots.
    """
    slot_masks = jax.nn.softmax(slot_mask_logits, axis=-4)
    return Decoded(slot_rgb, slot_mask_logits, slot_masks, (slot_masks * slot_rgb).sum(-4))


class SpatialBroadcastDecoder(nn.Module):
    """Tiles the latents over the picture, adds coordinates, and convolves.

    Source: the backbone's code; no dense layer in front of the broadcast.
    """

    config: ODDNConfig

    def setup(self):
        config = self.config
        sizes = [config.latent_size + 2] + [config.convolution_channels] * (NUM_CONVOLUTIONS - 1) + [4]
        self.conv = [convolution(i, o, dtype=config.compute_dtype) for i, o in itertools.pairwise(sizes)]

    def __call__(
        self, latents: Float[Array, "*b k l"]
    ) -> tuple[Float[Array, "*b k h w 3"], Float[Array, "*b k h w 1"]]:
        """Returns the slots' mean colours in (0, 1) and their mask logits."""
        config = self.config
        height, width = config.image_height, config.image_width
        lead = latents.shape[:-1]
        latents = latents.reshape(-1, 1, 1, latents.shape[-1])
        shape = (latents.shape[0], height, width)
        coordinates = coordinate_channels(height, width).astype(latents.dtype)
        x = jnp.concatenate(
            [
                jnp.broadcast_to(coordinates, (*shape, 2)),
                jnp.broadcast_to(latents, (*shape, latents.shape[-1])),
            ],
            -1,
        )
        for conv in self.conv[:-1]:
            x = jax.nn.elu(conv(x))
        x = self.conv[-1](x).reshape(*lead, height, width, 4)
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        return jax.nn.sigmoid(x[..., :3]), x[..., 3:]
