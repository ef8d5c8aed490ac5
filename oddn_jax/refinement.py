"""RefinementNetwork: from what the decoder did wrong to a better posterior, and the inputs it looks at."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from oddn_jax.config import ODDNConfig
from oddn_jax.distributions import Posterior
from oddn_jax.layers import Convolution, coordinate_channels, dense, normalize, uniform_init

NUM_CONVOLUTIONS = 4
POOL = 4  # window and stride of the average pooling
# 3 image, 3 slot_rgb, 1 mask, 1 mask logit, 3 + 1 gradients, 1 slot posterior, 1 log-likelihood, 2 coordinates
NUM_IMAGE_CHANNELS = 16


class RefinementState(NamedTuple):
    """The LSTM's memory, carried over the refinement steps of one frame."""

    hidden: Float[Array, "*b k m"]
    cell: Float[Array, "*b k m"]


class RefinementInputs(NamedTuple):
    """What the refinement network sees of one step."""

    image: Float[Array, "*b k h w c"]
    vector: Float[Array, "*b k v"]


def refinement_inputs(
    image: Float[Array, "*b h w 3"],
    slot_rgb: Float[Array, "*b k h w 3"],
    slot_masks: Float[Array, "*b k h w 1"],
    slot_mask_logits: Float[Array, "*b k h w 1"],
    likelihoods: Float[Array, "*b k h w 3"],
    log_likelihood: Float[Array, "*b h w 3"],
    rgb_gradient: Float[Array, "*b k h w 3"],
    mask_gradient: Float[Array, "*b k h w 1"],
    posterior: Posterior,
    posterior_gradient: Posterior,
    features: Float[Array, "*b h w f"] | None,
) -> RefinementInputs:
    """Stacks the auxiliary inputs of one refinement step: 16 image channels (and the features), 4 l numbers per slot.

    Gradients and the log-likelihood map are layer-normalised and constant for training (no second-order
    differentiation). The slot posterior is the softmax of the likelihoods themselves, hence nearly uniform: a quirk of
    the backbone that is kept, because the paper's model was trained with it.

    Source: the backbone's code, in its channel order; the paper names only a part of them (3.1).
    """
    height, width, num_slots = *image.shape[-3:-1], slot_rgb.shape[-4]

    def for_each_slot(x):
        return jnp.broadcast_to(x[..., None, :, :, :], (*x.shape[:-3], num_slots, *x.shape[-3:]))

    constant = jax.lax.stop_gradient
    log_likelihood_map = log_likelihood.sum(-1, keepdims=True)
    coordinates = jnp.broadcast_to(
        coordinate_channels(height, width).astype(image.dtype), (*image.shape[:-1], 2)
    )
    channels = [
        for_each_slot(image),
        slot_rgb,
        slot_masks,
        slot_mask_logits,
        constant(normalize(rgb_gradient, 3)),
        constant(normalize(mask_gradient, 3)),
        jax.nn.softmax(likelihoods.prod(-1, keepdims=True), axis=-4),
        for_each_slot(constant(normalize(log_likelihood_map, 3))),
        for_each_slot(coordinates),
    ]
    if features is not None:
        channels.append(for_each_slot(features))
    gradient = constant(normalize(jnp.concatenate(posterior_gradient, -1), 1))
    return RefinementInputs(jnp.concatenate(channels, -1), jnp.concatenate([*posterior, gradient], -1))


class LSTMCell(nn.Module):
    """An LSTM cell with two bias vectors, gates in the order input, forget, candidate, output.

    Source: PyTorch's cell, whose second bias Table 4 counts.
    """

    inputs: int
    hidden: int
    dtype: str

    @nn.compact
    def __call__(self, x: Float[Array, "*b v"], state: RefinementState) -> RefinementState:
        """Returns the next state."""
        init = uniform_init(self.hidden**-0.5)
        gates = 0
        for name, value in (("input", x), ("hidden", state.hidden)):
            layer = nn.Dense(4 * self.hidden, dtype=self.dtype, kernel_init=init, bias_init=init, name=name)
            gates = gates + layer(value)
        update, forget, candidate, output = jnp.split(gates.astype(state.cell.dtype), 4, -1)
        cell = jax.nn.sigmoid(forget) * state.cell + jax.nn.sigmoid(update) * jnp.tanh(candidate)
        return RefinementState(jax.nn.sigmoid(output) * jnp.tanh(cell), cell)


class RefinementNetwork(nn.Module):
    """Convolutions, a dense code, an LSTM, and the additive change of the posterior (Eq. 3).

    Source: the backbone's code.
    """

    config: ODDNConfig

    def setup(self):
        config = self.config
        num_features = 0 if config.features == "none" else 16
        channels, hidden = config.convolution_channels, config.hidden_size
        sizes = [NUM_IMAGE_CHANNELS + num_features] + [channels] * NUM_CONVOLUTIONS
        options = {"dtype": config.compute_dtype, "gain": config.kernel_gain}
        self.conv = [Convolution(i, o, **options) for i, o in itertools.pairwise(sizes)]
        pooled = (config.image_height // POOL) * (config.image_width // POOL) * channels
        self.code = dense(pooled, hidden, **options)
        self.lstm = LSTMCell(4 * config.latent_size + hidden, hidden, config.compute_dtype)
        self.delta = dense(hidden, 2 * config.latent_size, dtype=config.compute_dtype)

    def initial_state(self, batch_shape: tuple[int, ...], dtype: jax.typing.DTypeLike) -> RefinementState:
        """An empty memory for every slot."""
        zeros = jnp.zeros((*batch_shape, self.config.hidden_size), dtype)
        return RefinementState(zeros, zeros)

    def __call__(self, inputs: RefinementInputs, state: RefinementState) -> tuple[Posterior, RefinementState]:
        """Returns the change of the posterior's mean and log-variance, and the LSTM's next state."""
        x = inputs.image
        lead = x.shape[:-3]
        x = x.reshape(-1, *x.shape[-3:])
        for conv in self.conv:
            x = jax.nn.elu(conv(x))
        x = nn.avg_pool(x, (POOL, POOL), (POOL, POOL))
        code = jax.nn.elu(self.code(x.reshape(*lead, -1)))
        state = self.lstm(jnp.concatenate([inputs.vector, code.astype(inputs.vector.dtype)], -1), state)
        delta = self.delta(state.hidden).astype(inputs.vector.dtype)
        return Posterior(*jnp.split(delta, 2, -1)), state
