"""Iterative amortised inference: the variational loop of the backbone, free of Flax.

Posterior -> sample -> decode -> what is wrong -> refine, a fixed number of times (paper Eq. 2-3, Algorithm 1). The
three gradients that the refinement network sees are closed forms and one pull-back through the decoder, all constant
for training.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from oddn_jax.compilation import platform
from oddn_jax.config import ODDNConfig
from oddn_jax.decoder import Decoded, compose, unfold_pictures
from oddn_jax.distributions import (
    Posterior,
    mixture_log_likelihood,
    mixture_nll,
    mixture_nll_gradients,
    pixel_likelihoods,
    sample,
    slot_kl,
)
from oddn_jax.layers import fold
from oddn_jax.refinement import RefinementInputs, RefinementState, refinement_inputs

LATENT_GRADIENT = "latent_gradient"  # what `recomputed` keeps


class Inference(NamedTuple):
    """The slots of each frame. `r` counts decodings; the last one belongs to the returned posterior."""

    posterior: Posterior  # [*b k l], after the last refinement
    latents: Float[Array, "*b k l"]  # its sample, or its mean when inference is deterministic
    decoded: Decoded  # of these latents
    nll: Float[Array, "*b r"]  # nats per frame, unweighted
    kl: Float[Array, "*b r"]  # nats per frame, unweighted, summed over slots
    trajectory: Posterior  # [*b r k l], in front of each decoding


class Step(NamedTuple):
    """One decoding, and how well it explains the frame."""

    latents: Float[Array, "*b k l"]
    decoded: Decoded
    nll: Float[Array, "*b"]
    kl: Float[Array, "*b"]


def posterior_gradient(
    posterior: Posterior,
    noise: Float[Array, "*b k l"],
    latent_gradient: Float[Array, "*b k l"],
    kl_weight: float,
) -> Posterior:
    """Gradient of the loss with respect to the posterior, given the likelihood's with respect to its sample.

    Source: chain rule through the reparameterised sample, plus the closed-form gradient of the KL term.
    """
    mean, log_variance = posterior
    return Posterior(
        latent_gradient + kl_weight * mean,
        0.5 * jnp.exp(0.5 * log_variance) * noise * latent_gradient
        + 0.5 * kl_weight * (jnp.exp(log_variance) - 1),
    )


def evaluate_sample(
    decode: Callable,
    frames: Float[Array, "*b h w 3"],
    posterior: Posterior,
    latents: Float[Array, "*b k l"],
    config: ODDNConfig,
) -> Step:
    """Decodes latents and scores them against the frames."""
    decoded = compose(*decode(latents))
    nll = mixture_nll(frames, decoded.slot_rgb, decoded.slot_masks, config.likelihood_variance)
    return Step(latents, decoded, nll, slot_kl(posterior).sum(-1))


def evaluate_and_look(
    decode: Callable,
    frames: Float[Array, "*b h w 3"],
    features: Float[Array, "*b h w f"] | None,
    posterior: Posterior,
    noise: Float[Array, "*b k l"],
    config: ODDNConfig,
) -> tuple[Step, RefinementInputs]:
    """Decodes a sample of the posterior, scores it, and gathers what the refinement network sees of it.

    The loss whose gradients it sees is nll_weight * nll + kl_weight * KL of each frame (paper 3.1). One forward pass of
    the decoder serves both the score and the pull-back of the gradients.
    """
    variance = config.likelihood_variance
    latents = sample(posterior, noise)
    (slot_rgb, slot_mask_logits), pull_back = jax.vjp(decode, latents)
    decoded = compose(slot_rgb, slot_mask_logits)
    likelihoods = pixel_likelihoods(frames, slot_rgb, variance)
    log_likelihood = mixture_log_likelihood(likelihoods, decoded.slot_masks)
    step = Step(latents, decoded, -log_likelihood.sum((-3, -2, -1)), slot_kl(posterior).sum(-1))

    scale = 1.0
    if config.gradient_scale == "per_batch":
        scale = 1.0 / math.prod(frames.shape[:-3])
    masks = jax.lax.stop_gradient(decoded.slot_masks)
    rgb_gradient, mask_gradient = jax.tree.map(
        lambda x: scale * config.nll_weight * x,
        mixture_nll_gradients(*jax.lax.stop_gradient((frames, slot_rgb, masks, likelihoods)), variance),
    )
    logit_gradient = masks * (mask_gradient - (masks * mask_gradient).sum(-4, keepdims=True))
    (latent_gradient,) = jax.lax.stop_gradient(pull_back((rgb_gradient, logit_gradient)))
    latent_gradient = checkpoint_name(latent_gradient, LATENT_GRADIENT)
    gradient = posterior_gradient(
        jax.lax.stop_gradient(posterior), noise, latent_gradient, scale * config.kl_weight
    )
    inputs = refinement_inputs(
        frames,
        slot_rgb,
        decoded.slot_masks,
        slot_mask_logits,
        likelihoods,
        log_likelihood,
        rgb_gradient,
        mask_gradient,
        posterior,
        gradient,
        features,
        config.fold,
    )
    return step, inputs


def iterative_inference(
    decode: Callable,
    refine: Callable,
    frames: Float[Array, "*b h w 3"],
    features: Float[Array, "*b h w f"] | None,
    initial_posterior: Posterior,
    initial_state: RefinementState,
    noise: Float[Array, "r *b k l"],
    config: ODDNConfig,
    *,
    deterministic: bool = False,
) -> Inference:
    """Infers the slots of each frame, independently of all others.

    All pictures inside are folded by `config.fold`, as the decoder gives them.

    Args:
      decode: latents -> (slot_rgb, slot_mask_logits), folded.
      refine: (RefinementInputs, state) -> (change of the posterior, state).
      frames: pixels in [0, 1].
      features: further image channels for the refinement network, the same at each step.
      initial_posterior: in front of the first decoding.
      initial_state: of the refinement network.
      noise: standard normal; its first axis gives the number of decodings, which is one more than that of refinements.
      deterministic: decode the posterior's mean in the last step (the steps before it still sample).

    Source: paper 3.1, Algorithm 1 lines 4-10; the backbone's code refines after every decoding but the last.
    """

    frames, features = jax.tree.map(partial(fold, size=config.fold), (frames, features))

    def refinement_step(carry, noise):
        posterior, state = carry
        step, inputs = evaluate_and_look(decode, frames, features, posterior, noise, config)
        delta, state = refine(inputs, state)
        refined = jax.tree.map(jnp.add, posterior, delta)
        return (refined, state), (posterior, step.nll, step.kl)

    num_refinements = noise.shape[0] - 1
    unroll = scan_unroll(config, num_refinements)
    (posterior, _), (trajectory, nll, kl) = jax.lax.scan(
        recomputed(refinement_step, config, in_loop=unroll == 1),
        (initial_posterior, initial_state),
        noise[:-1],
        unroll=unroll,
    )
    latents = posterior.mean if deterministic else sample(posterior, noise[-1])
    last = evaluate_sample(decode, frames, posterior, latents, config)

    def append(steps, end, axis):
        return jnp.moveaxis(jnp.concatenate([steps, end[None]]), 0, axis)

    batch_axes = frames.ndim - 3
    return Inference(
        posterior=posterior,
        latents=last.latents,
        decoded=unfold_pictures(last.decoded, config),
        nll=append(nll, last.nll, batch_axes),
        kl=append(kl, last.kl, batch_axes),
        trajectory=jax.tree.map(lambda steps, end: append(steps, end, batch_axes), trajectory, posterior),
    )


def tracking_inference(
    infer: Callable[..., Inference],
    video: Float[Array, "*b t h w 3"],
    features: Float[Array, "*b t h w f"] | None,
    noise: Float[Array, "r *b t k l"],
    before: Posterior | None,
    config: ODDNConfig,
) -> Inference:
    """Infers the slots of a clip's frames, each from where those of the frame before ended.

    Args:
      infer: (frames, features, noise, posterior to start from or None) -> `Inference` of as many decodings as noise.
      video: pixels in [0, 1].
      features: as for `iterative_inference`.
      noise: standard normal. The first frame is decoded `r` times, the others `num_tracking_steps` times, with the last
        of their noise.
      before: posterior [*b k l] of the frame before the first, which is then decoded like the others.

    Returns:
      Of each frame; what a frame leaves out of `nll`, `kl` and `trajectory` repeats its first decoding, so that the
      last entry is that of the last decoding.
    """
    axis = video.ndim - 4
    num_left_out = noise.shape[0] - config.num_tracking_steps
    noise = jnp.moveaxis(noise, axis + 1, 0)
    frames, features = jax.tree.map(lambda x: jnp.moveaxis(x, axis, 0), (video, features))

    def repeat_first(x):
        first = jnp.repeat(jax.lax.slice_in_dim(x, 0, 1, axis=axis), num_left_out, axis)
        return jnp.concatenate([first, x], axis)

    def track(posterior, inputs):
        frame, features, noise = inputs
        found = infer(frame, features, noise[num_left_out:], posterior)
        nll, kl, trajectory = jax.tree.map(repeat_first, (found.nll, found.kl, found.trajectory))
        return found.posterior, found._replace(nll=nll, kl=kl, trajectory=trajectory)

    inferred, following = [], (frames, features, noise)
    if before is None:
        first = infer(*jax.tree.map(lambda x: x[0], following), None)
        before, following = first.posterior, jax.tree.map(lambda x: x[1:], following)
        inferred.append(jax.tree.map(lambda x: x[None], first))
    num_tracked = following[0].shape[0]
    if not isinstance(num_tracked, int) or num_tracked:
        unroll = frames_unroll(num_tracked)
        inferred.append(jax.lax.scan(track, before, following, unroll=unroll)[1])
    return jax.tree.map(lambda *x: jnp.moveaxis(jnp.concatenate(x), 0, axis), *inferred)


def frames_unroll(num_frames: int) -> int:
    """Frames per iteration of the compiled loop over those of a clip.

    On the CPU all of a short clip's, as training has them (see `scan_unroll`), and four of a long one's, which compiles
    in bounded time; 1 on accelerators, and where the number is free (`serialized`).
    """
    if not isinstance(num_frames, int) or platform() != "cpu":
        return 1
    return num_frames if num_frames <= 9 else 4


def scan_unroll(config: ODDNConfig, num_steps: int) -> int:
    """Refinement steps per iteration of the compiled loop.

    Complete on the CPU, because XLA:CPU differentiates convolutions inside a loop 40 times slower than outside of one
    (measured; JAX issue 12868); 1 on accelerators, where the loop costs nothing and compiles faster.
    """
    if config.unroll:
        return min(config.unroll, max(num_steps, 1))
    return max(num_steps, 1) if platform() == "cpu" else 1


def chosen_remat(config: ODDNConfig) -> str:
    """`config.remat`, or what "auto" means here: "none" on the CPU, "step" on accelerators, whose memory is smaller."""
    if config.remat != "auto":
        return config.remat
    return "none" if platform() == "cpu" else "step"


def recomputed(refinement_step: Callable, config: ODDNConfig, *, in_loop: bool) -> Callable:
    """A refinement step that the backward pass computes again instead of keeping its pictures, if `remat` says so.

    The gradient that the likelihood has with respect to the latents is kept: a few numbers a slot, for which the
    decoder would be run backwards once more, a third of all that is recomputed.

    Args:
      in_loop: it is the body of a compiled loop; only outside of one XLA would notice that something is computed twice,
        and keep it after all.
    """
    if chosen_remat(config) == "none":
        return refinement_step
    keep = jax.checkpoint_policies.save_only_these_names(LATENT_GRADIENT)
    return jax.checkpoint(refinement_step, prevent_cse=not in_loop, policy=keep)
