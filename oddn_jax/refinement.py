"""RefinementNetwork: from what the decoder did wrong to a better posterior, and the inputs it looks at."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from oddn_jax.config import NUM_FEATURES, ODDNConfig
from oddn_jax.distributions import Posterior
from oddn_jax.layers import (
    Convolution,
    add_bias,
    average_pixels,
    convolve,
    coordinate_channels,
    dense,
    elu,
    fold,
    kernel_init,
    normalize,
    uniform_init,
)

NUM_CONVOLUTIONS = 4
POOL = 4  # window and stride of the average pooling
NUM_FRAME_CHANNELS = 6  # 3 image, 1 log-likelihood, 2 coordinates; then the features
NUM_SLOT_CHANNELS = (
    10  # 3 slot_rgb, 1 mask, 1 mask logit, 3 + 1 gradients, 1 slot posterior; behind the image's
)


class RefinementState(NamedTuple):
    """The LSTM's memory, carried over the refinement steps of one frame."""

    hidden: Float[Array, "*b k m"]
    cell: Float[Array, "*b k m"]


class RefinementInputs(NamedTuple):
    """What the refinement network sees of one step.

    The channels that all slots of a frame have in common are kept once: no slot has its own copy.
    """

    frame: Float[Array, "*b h w f"]
    slots: Float[Array, "*b k h w s"]
    vector: Float[Array, "*b k v"]

    @property
    def image(self) -> Float[Array, "*b k h w c"]:
        """All channels of each slot, in the order of the backbone's code and of the first kernel's inputs."""
        shape = (*self.slots.shape[:-1], self.frame.shape[-1])
        frame = jnp.broadcast_to(self.frame[..., None, :, :, :], shape)
        return jnp.concatenate([frame[..., :3], self.slots, frame[..., 3:]], -1)


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
    folded: int = 1,
) -> RefinementInputs:
    """Stacks the auxiliary inputs of one refinement step: 16 image channels (and the features), 4 l numbers per slot.

    Gradients and the log-likelihood map are layer-normalised and constant for training (no second-order
    differentiation). The slot posterior is the softmax of the likelihoods themselves, hence nearly uniform: a quirk of
    the backbone that is kept, because the paper's model was trained with it.

    Source: the backbone's code, in its channel order; the paper names only a part of them (3.1).

    Args:
      folded: by how much all pictures are, see `layers.fold`.
    """
    constant = jax.lax.stop_gradient
    log_likelihood_map = log_likelihood.sum(-1, keepdims=True)
    height, width = image.shape[-3] * folded, image.shape[-2] // folded
    coordinates = fold(coordinate_channels(height, width), folded).astype(image.dtype)
    frame = [
        image,
        constant(normalize(log_likelihood_map, 3)),
        jnp.broadcast_to(coordinates, (*image.shape[:-1], 2)),
    ]
    if features is not None:
        frame.append(features)
    slots = [
        slot_rgb,
        slot_masks,
        slot_mask_logits,
        constant(normalize(rgb_gradient, 3)),
        constant(normalize(mask_gradient, 3)),
        jax.nn.softmax(likelihoods.prod(-1, keepdims=True), axis=-4),
    ]
    gradient = constant(normalize(jnp.concatenate(posterior_gradient, -1), 1))
    vector = jnp.concatenate([*posterior, gradient], -1)
    return RefinementInputs(jnp.concatenate(frame, -1), jnp.concatenate(slots, -1), vector)


def empty_inputs(config: ODDNConfig) -> RefinementInputs:
    """Zeros for one frame with one slot, to make parameters with."""
    height, width = config.image_height // config.fold, config.image_width * config.fold
    return RefinementInputs(
        jnp.zeros((1, height, width, _num_frame_channels(config))),
        jnp.zeros((1, 1, height, width, NUM_SLOT_CHANNELS)),
        jnp.zeros((1, 1, 4 * config.latent_size)),
    )


def code_picture(config: ODDNConfig) -> tuple[int, int]:
    """Height and width of what the dense code is made of."""
    smaller = 1 << (config.pyramid - 1) if config.pyramid else POOL
    return config.image_height // smaller, config.image_width // smaller


def _num_frame_channels(config: ODDNConfig) -> int:
    return NUM_FRAME_CHANNELS + (0 if config.features == "none" else NUM_FEATURES)


class InputConvolution(nn.Module):
    """A 3x3 convolution over `RefinementInputs.image`, of which the frame's channels are convolved once for all slots.

    Parameters and result are those of a convolution of all channels of each slot (our choice).
    """

    inputs: int
    outputs: int
    dtype: str
    gain: float

    @nn.compact
    def __call__(
        self, frame: Float[Array, "*b h w f"], slots: Float[Array, "*b k h w s"]
    ) -> Float[Array, "*b k h w o"]:
        """Returns the convolved pictures of each slot."""
        kernel = self.param("kernel", kernel_init(self.gain), (3, 3, self.inputs, self.outputs))
        bias = self.param("bias", uniform_init((9 * self.inputs) ** -0.5), (self.outputs,))
        first, of_slots, last = jnp.split(kernel, (3, 3 + NUM_SLOT_CHANNELS), axis=2)

        def convolved(x, kernel):
            x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
            y = convolve(x.reshape(-1, *x.shape[-3:]), kernel)
            return y.reshape(*x.shape[:-1], self.outputs)

        once = add_bias(convolved(frame, jnp.concatenate([first, last], 2)), bias)
        return convolved(slots, of_slots) + once[..., None, :, :, :]


class InputPatches(nn.Module):
    """A dense layer on each block of pixels of `RefinementInputs.image`, the frame's part of it once for all slots.

    Source: our choice; a strided convolution whose windows do not overlap, without its slow gradient on XLA:CPU.
    """

    inputs: int
    outputs: int
    size: int  # of a block; the pictures are folded by it
    dtype: str
    gain: float

    @nn.compact
    def __call__(
        self, frame: Float[Array, "*b y x f"], slots: Float[Array, "*b k y x s"]
    ) -> Float[Array, "*b k h w o"]:
        """Returns a pixel for each block."""
        shape = (self.size, self.size, self.inputs, self.outputs)
        kernel = self.param("kernel", kernel_init(self.gain), shape).astype(self.dtype)
        bias = self.param("bias", uniform_init((self.size**2 * self.inputs) ** -0.5), (self.outputs,))
        first, of_slots, last = jnp.split(kernel, (3, 3 + NUM_SLOT_CHANNELS), axis=2)

        def product(x, kernel):
            blocks = x.reshape(-1, self.size**2 * x.shape[-1]).astype(self.dtype)
            return (blocks @ kernel.reshape(-1, self.outputs)).reshape(*x.shape[:-2], -1, self.outputs)

        once = add_bias(product(frame, jnp.concatenate([first, last], 2)), bias)
        return product(slots, of_slots) + once[..., None, :, :, :]


class Patches(nn.Module):
    """A dense layer on each block of 2x2 pixels; see `InputPatches`."""

    inputs: int
    outputs: int
    dtype: str
    gain: float

    @nn.compact
    def __call__(self, x: Float[Array, "n h w i"]) -> Float[Array, "n y x o"]:
        """Returns a pixel for each block."""
        kernel = self.param("kernel", kernel_init(self.gain), (2, 2, self.inputs, self.outputs))
        bias = self.param("bias", uniform_init((4 * self.inputs) ** -0.5), (self.outputs,))
        n, height, width, _ = x.shape
        y = fold(x, 2).reshape(-1, 4 * self.inputs) @ kernel.astype(self.dtype).reshape(-1, self.outputs)
        return add_bias(y.reshape(n, height // 2, width // 2, self.outputs), bias)


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

    With `pyramid` the first two convolutions are dense layers on blocks of 2x2 pixels, and nothing is pooled. With
    `background_slot` the first slot's posterior does not change: what it starts from is learned, and the same for all
    frames, so that it can paint what all videos have in common and no object.

    Source: the backbone's code; the pyramid and the background's slot are our choice.
    """

    config: ODDNConfig
    lstm_type = LSTMCell

    def setup(self):
        config = self.config
        channels, hidden = config.convolution_channels, config.hidden_size
        options = {"dtype": config.compute_dtype, "gain": config.kernel_gain}
        inputs = _num_frame_channels(config) + NUM_SLOT_CHANNELS
        convolutions = [Convolution(channels, channels, **options) for _ in range(NUM_CONVOLUTIONS - 1)]
        if config.pyramid:
            first = InputPatches(inputs, channels, config.fold, **options)
            convolutions[0] = Patches(channels, channels, **options)
        else:
            first = InputConvolution(inputs, channels, **options)
        self.conv = [first, *convolutions]
        self.code = dense(math.prod(code_picture(config)) * channels, hidden, **options)
        self.lstm = self.lstm_type(4 * config.latent_size + hidden, hidden, config.compute_dtype)
        self.delta = dense(hidden, 2 * config.latent_size, dtype=config.compute_dtype)

    def initial_state(self, batch_shape: tuple[int, ...], dtype: jax.typing.DTypeLike) -> RefinementState:
        """An empty memory for every slot."""
        zeros = jnp.zeros((*batch_shape, self.config.hidden_size), dtype)
        return RefinementState(zeros, zeros)

    def __call__(self, inputs: RefinementInputs, state: RefinementState) -> tuple[Posterior, RefinementState]:
        """Returns the change of the posterior's mean and log-variance, and the LSTM's next state."""
        x = elu(self.conv[0](inputs.frame, inputs.slots))
        lead = x.shape[:-3]
        x = x.reshape(-1, *x.shape[-3:])
        for conv in self.conv[1:]:
            x = elu(conv(x))
        pooled = x if self.config.pyramid else average_pixels(x, POOL)
        code = elu(self.code(pooled.reshape(*lead, -1)))
        state = self.lstm(jnp.concatenate([inputs.vector, code.astype(inputs.vector.dtype)], -1), state)
        delta = self.delta(state.hidden).astype(inputs.vector.dtype)
        if self.config.background_slot:
            delta = delta.at[..., 0, :].set(0)
        return Posterior(*jnp.split(delta, 2, -1)), state
