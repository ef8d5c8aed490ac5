"""Diagonal Gaussian posterior and spatial Gaussian mixture (Eq. 1), with the closed-form gradients refinement uses."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Posterior(NamedTuple):
    """A diagonal Gaussian over each slot's latents."""

    mean: Float[Array, "*b k l"]
    log_variance: Float[Array, "*b k l"]


def sample(posterior: Posterior, noise: Float[Array, "*b k l"]) -> Float[Array, "*b k l"]:
    """Reparameterised sample: mean + standard deviation * noise, with standard normal noise."""
    return posterior.mean + jnp.exp(0.5 * posterior.log_variance) * noise


def slot_kl(posterior: Posterior) -> Float[Array, "*b k"]:
    """KL divergence of each slot's posterior from N(0, I), in nats.

    Source: paper Eq. 5.
    """
    mean, log_variance = posterior
    return 0.5 * (jnp.exp(log_variance) + mean**2 - 1 - log_variance).sum(-1)


def pixel_likelihoods(
    image: Float[Array, "*b h w 3"], slot_rgb: Float[Array, "*b k h w 3"], variance: float
) -> Float[Array, "*b k h w 3"]:
    """Each slot's likelihood of each colour value, exp(-(x - mu)^2 / (2 variance)), in (0, 1].

    The Gaussian's normaliser is left out, as in the backbone's code. For colours in [0, 1] and variance 0.3 the values
    are at least exp(-1 / 0.6) = 0.189, so products and logarithms need no guard.
    """
    return jnp.exp(-((image[..., None, :, :, :] - slot_rgb) ** 2) / (2 * variance))


def mixture_log_likelihood(
    likelihoods: Float[Array, "*b k h w 3"], slot_masks: Float[Array, "*b k h w 1"]
) -> Float[Array, "*b h w 3"]:
    """log p(x) of each colour value under the mixture of slots, in nats (at most 0).

    Source: paper Eq. 1, read per colour channel as the backbone's code does.
    """
    return jnp.log((slot_masks * likelihoods).sum(-4))


def mixture_nll(
    image: Float[Array, "*b h w 3"],
    slot_rgb: Float[Array, "*b k h w 3"],
    slot_masks: Float[Array, "*b k h w 1"],
    variance: float,
) -> Float[Array, "*b"]:
    """Negative log-likelihood of a frame, in nats per frame (without the Gaussian's normaliser, hence at least 0).

    Args:
      image: pixels in [0, 1].
      slot_rgb: the slots' mean colours in (0, 1).
      slot_masks: sum to 1 over k.
      variance: of the pixel likelihood.
    """
    log_likelihood = mixture_log_likelihood(pixel_likelihoods(image, slot_rgb, variance), slot_masks)
    return -log_likelihood.sum((-3, -2, -1))


def mixture_nll_gradients(
    image: Float[Array, "*b h w 3"],
    slot_rgb: Float[Array, "*b k h w 3"],
    slot_masks: Float[Array, "*b k h w 1"],
    likelihoods: Float[Array, "*b k h w 3"],
    variance: float,
) -> tuple[Float[Array, "*b k h w 3"], Float[Array, "*b k h w 1"]]:
    """Closed-form gradients of `mixture_nll` with respect to slot_rgb and slot_masks (partial: masks taken as free).

    Source: differentiating Eq. 1; checked against jax.grad in the tests.
    """
    likelihood = (slot_masks * likelihoods).sum(-4, keepdims=True)
    ratio = likelihoods / likelihood
    rgb_gradient = -slot_masks * ratio * (image[..., None, :, :, :] - slot_rgb) / variance
    return rgb_gradient, -ratio.sum(-1, keepdims=True)
