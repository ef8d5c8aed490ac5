"""DynamicsDistiller: what a slot's change between two frames says about its motion (Eq. 7-9)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from oddn_jax.config import ODDNConfig
from oddn_jax.layers import dense, identity_init

# Of `distiller_init="match"`: the first attention is the softmax of SHARPNESS times the products of two slots' latents,
# and takes MOST of what it finds away from the slot. What remains of it keeps the norm from hiding how large the
# difference is. Our choice, the best of four tried (training diary).
SHARPNESS, MOST = 3.0, 0.8


class Distillation(NamedTuple):
    """Dynamics of the slots of frames 2..t, and where they looked."""

    dynamics: Float[Array, "*b t-1 k d"]
    match_attention: Float[Array, "*b t-1 k 2*k"]  # the previous frame's slots, then this frame's


class DynamicsDistiller(nn.Module):
    """One attention layer from a frame's slots to the slots of the previous and the same frame, then a small network.

    Slots of different frames come in no common order: the attention finds the correspondence.

    Source: paper Eq. 7-9 and Figure 2; the widths are those that meet Table 4's count.
    """

    config: ODDNConfig

    def setup(self):
        config = self.config
        size, dtype = config.latent_size, config.compute_dtype

        def projection(first):
            init = identity_init(first) if config.distiller_init == "match" else None
            return dense(size, size, use_bias=False, dtype=dtype, init=init)

        divisor = size**0.5 if config.scale_attention else 1.0
        alike = (SHARPNESS * divisor) ** 0.5
        self.query, self.key, self.value = projection(alike), projection(alike), projection(-MOST)
        self.norm = nn.LayerNorm(1e-5)
        hidden = config.ffn_hidden_size
        self.ffn = [dense(size, hidden, dtype=dtype), dense(hidden, config.dynamics_size, dtype=dtype)]

    def __call__(
        self, previous: Float[Array, "*b k l"], current: Float[Array, "*b k l"]
    ) -> tuple[Float[Array, "*b k d"], Float[Array, "*b k 2*k"]]:
        """Distils the dynamics of the current frame's slots.

        Returns:
          The dynamics, and the attention on the previous frame's slots, then on the current frame's;
          with `attend_current=False` the second half is zero.
        """
        config = self.config
        num_slots = current.shape[-2]
        tokens = jnp.concatenate([previous, current], -2) if config.attend_current else previous
        query, key, value = self.query(current), self.key(tokens), self.value(tokens)
        scores = jnp.einsum("...qc,...kc->...qk", query, key)
        if config.scale_attention:
            scores = scores * query.shape[-1] ** -0.5
        match = jax.nn.softmax(scores.astype(current.dtype), -1)
        attended = jnp.einsum("...qk,...kc->...qc", match, value)
        x = self.norm((attended + current).astype(current.dtype))
        x = jax.nn.relu(self.ffn[0](x))
        dynamics = self.ffn[1](x).astype(current.dtype)
        if not config.attend_current:
            match = jnp.concatenate([match, jnp.zeros_like(match)], -1)
        assert match.shape[-2:] == (num_slots, 2 * num_slots)
        return dynamics, match
