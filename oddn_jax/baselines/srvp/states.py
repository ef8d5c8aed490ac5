"""SRVP's state space: Gaussians with learned widths, the networks that give them, and the residual step."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import orthogonal
from jaxtyping import Array, Float

from oddn_jax.layers import dense


class Gaussian(NamedTuple):
    """A diagonal Gaussian."""

    mean: Float[Array, "*b d"]
    standard_deviation: Float[Array, "*b d"]


def gaussian(raw: Float[Array, "*b n"]) -> Gaussian:
    """Reads a mean and, behind it, what softplus turns into a standard deviation."""
    mean, scale = jnp.split(raw.astype(jnp.promote_types(raw.dtype, jnp.float32)), 2, -1)
    return Gaussian(mean, jax.nn.softplus(scale) + 1e-8)


def draw(distribution: Gaussian, noise: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
    """Reparameterised sample, with standard normal noise."""
    return distribution.mean + distribution.standard_deviation * noise


def gaussian_kl(posterior: Gaussian, prior: Gaussian) -> Float[Array, "*b"]:
    """KL divergence of the posterior from the prior, in nats, summed over the last axis."""
    ratio = posterior.standard_deviation / prior.standard_deviation
    distance = (posterior.mean - prior.mean) / prior.standard_deviation
    return (0.5 * (ratio**2 + distance**2 - 1) - jnp.log(ratio)).sum(-1)


def euler_steps(
    dynamics: Callable, state: Float[Array, "*b y"], innovation: Float[Array, "*b z"], num_steps: int
) -> tuple[Float[Array, "*b y"], Float[Array, "*b e y"]]:
    """From one frame's state to the next one's, in equal Euler steps under the same innovation.

    Returns:
      The next state, and what each step added.
    """
    residuals = []
    for _ in range(num_steps):
        change = dynamics(jnp.concatenate([state, innovation], -1)).astype(state.dtype)
        residuals.append(change / num_steps)
        state = state + residuals[-1]
    return state, jnp.stack(residuals, -2)


class MLP(nn.Module):
    """Dense layers with ReLU between them.

    Attributes:
      sizes: of the input, the hidden layers and the output.
      gain: of an orthogonal initialisation with zero biases; None: PyTorch's default.
      dtype: of the products.
    """

    sizes: tuple[int, ...]
    gain: float | None = None
    dtype: str = "float32"

    def setup(self):
        if self.gain is None:
            pairs = itertools.pairwise(self.sizes)
            self.dense = [dense(inputs, outputs, dtype=self.dtype) for inputs, outputs in pairs]
        else:
            init = orthogonal(self.gain)
            self.dense = [nn.Dense(size, dtype=self.dtype, kernel_init=init) for size in self.sizes[1:]]

    def __call__(self, x: Float[Array, "*b i"]) -> Float[Array, "*b o"]:
        """Returns the last layer's output as it is."""
        for layer in self.dense[:-1]:
            x = jax.nn.relu(layer(x))
        return self.dense[-1](x)
