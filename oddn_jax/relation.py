"""RelationModule: how objects change each other's dynamics (Eq. 10-13); LatentPredictor: the next frame (Eq. 4)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from oddn_jax.config import ODDNConfig
from oddn_jax.layers import dense


class Interaction(NamedTuple):
    """Dynamics after the pairs have acted on each other; receiver first, sender second."""

    updated_dynamics: Float[Array, "*b k d"]
    pair_attention: Float[Array, "*b k k"]  # in (0, 1), the diagonal 0
    pair_effect: Float[Array, "*b k k e"]  # before the attention weighs it; the diagonal 0


class RelationModule(nn.Module):
    """Embeds every ordered pair of slots, and adds the attended sum of the pairs' effects to the receiver's dynamics.

    Source: paper Eq. 10-13; the widths are those that meet Table 4's count. Eq. 12 prints the sum over the receiver;
    it is over the senders. All slots take part, the background's too.
    """

    config: ODDNConfig

    def setup(self):
        config = self.config
        dtype, embedding = config.compute_dtype, config.pair_embedding_size
        pair = 2 * (config.dynamics_size + config.latent_size)
        self.embedding = dense(pair, embedding, use_bias=False, dtype=dtype)
        self.attention = [
            dense(embedding, config.pair_attention_size, dtype=dtype),
            dense(config.pair_attention_size, 1, dtype=dtype),
        ]
        self.effect = dense(embedding, config.pair_effect_size, dtype=dtype)
        self.update = dense(config.pair_effect_size, config.dynamics_size, dtype=dtype)

    def __call__(self, dynamics: Float[Array, "*b k d"], latents: Float[Array, "*b k l"]) -> Interaction:
        """Lets the slots of one frame act on each other."""
        objects = jnp.concatenate([dynamics, latents], -1)
        num_slots = objects.shape[-2]
        shape = (*objects.shape[:-1], num_slots, objects.shape[-1])
        receivers = jnp.broadcast_to(objects[..., :, None, :], shape)
        senders = jnp.broadcast_to(objects[..., None, :, :], shape)
        embedding = jax.nn.relu(self.embedding(jnp.concatenate([receivers, senders], -1)))
        hidden = jnp.tanh(self.attention[0](embedding))
        others = 1 - jnp.eye(num_slots, dtype=dynamics.dtype)
        attention = others * jax.nn.sigmoid(self.attention[1](hidden)[..., 0].astype(dynamics.dtype))
        effect = others[..., None] * self.effect(embedding).astype(dynamics.dtype)
        total = jnp.einsum("...rs,...rse->...re", attention, effect)
        return Interaction(dynamics + self.update(total).astype(dynamics.dtype), attention, effect)


class LatentPredictor(nn.Module):
    """The next frame's latents, slot by slot and in the same order.

    Source: paper Eq. 4 and section 3.3; the matrix has no bias there.
    """

    config: ODDNConfig

    def setup(self):
        config = self.config
        inputs = config.dynamics_size + config.latent_size
        self.projection = dense(inputs, config.latent_size, use_bias=False, dtype=config.compute_dtype)

    def __call__(
        self, updated_dynamics: Float[Array, "*b k d"], latents: Float[Array, "*b k l"]
    ) -> Float[Array, "*b k l"]:
        """Returns the predicted latents; they are decoded as they are, without sampling."""
        return self.projection(jnp.concatenate([updated_dynamics, latents], -1)).astype(latents.dtype)
