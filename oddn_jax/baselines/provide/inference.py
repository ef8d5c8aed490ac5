"""PROVIDE's inference of one frame, given a memory of the frames before it; free of Flax."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from oddn_jax.config import ODDNConfig
from oddn_jax.decoder import Decoded, compose, unfold_pictures
from oddn_jax.distributions import (
    Posterior,
    mixture_log_likelihood,
    mixture_nll_gradients,
    pixel_likelihoods,
    sample,
)
from oddn_jax.inference import LATENT_GRADIENT, Inference, recomputed
from oddn_jax.layers import fold
from oddn_jax.refinement import RefinementInputs, RefinementState, refinement_inputs


class Memory(NamedTuple):
    """What is carried from frame to frame."""

    state: RefinementState  # of the 2D-LSTM after a frame's last refinement
    first_latents: Float[Array, "*b k l"]  # the sample that each frame of the clip is first decoded from


class Networks(NamedTuple):
    """The modules as pure functions."""

    decode: Callable  # (latents, hidden) -> (slot_rgb, slot_mask_logits)
    refine: (
        Callable  # (RefinementInputs, state, state of the frame before) -> (change of the posterior, state)
    )
    prior: Callable  # hidden -> Posterior
    features: Callable | None  # pictures [n h w 3] -> [n h w f]


def conditional_kl(posterior: Posterior, prior: Posterior) -> Float[Array, "*b k"]:
    """KL divergence of each slot's posterior from its conditional prior, in nats."""
    squared_distance = jnp.exp(posterior.log_variance) + (posterior.mean - prior.mean) ** 2
    log_ratio = prior.log_variance - posterior.log_variance
    return 0.5 * (log_ratio + squared_distance * jnp.exp(-prior.log_variance) - 1).sum(-1)


def conditional_kl_gradient(posterior: Posterior, prior: Posterior) -> Posterior:
    """Closed-form gradient of `conditional_kl` with respect to the posterior; checked against jax.grad in the tests."""
    precision = jnp.exp(-prior.log_variance)
    return Posterior(
        precision * (posterior.mean - prior.mean), 0.5 * (precision * jnp.exp(posterior.log_variance) - 1)
    )


def evaluate_and_look(
    decode: Callable,
    frames: Float[Array, "*b h w 3"],
    features: Float[Array, "*b h w f"] | None,
    posterior: Posterior,
    prior: Posterior,
    latents: Float[Array, "*b k l"],
    noise: Float[Array, "*b k l"] | None,
    nll_weight: float | Float[Array, ""],
    config: ODDNConfig,
) -> tuple[Decoded, Float[Array, "*b"], RefinementInputs]:
    """Decodes latents, scores them, and gathers what the refinement network sees of them.

    As the backbone's, with the KL divergence from the conditional prior. Without noise the latents are the clip's first
    sample, which is no sample of this frame's posterior: the refinement sees the gradient of the KL divergence alone.

    Returns:
      What the latents look like, its negative log-likelihood in nats per frame, and the refinement's inputs.

    Source: PROVIDE's code.
    """
    constant, variance = jax.lax.stop_gradient, config.likelihood_variance
    (slot_rgb, slot_mask_logits), pull_back = jax.vjp(decode, latents)
    decoded = compose(slot_rgb, slot_mask_logits)
    likelihoods = pixel_likelihoods(frames, slot_rgb, variance)
    log_likelihood = mixture_log_likelihood(likelihoods, decoded.slot_masks)

    scale = 1.0 / math.prod(frames.shape[:-3]) if config.gradient_scale == "per_batch" else 1.0
    fixed, masks = constant(posterior), constant(decoded.slot_masks)
    rgb_gradient, mask_gradient = jax.tree.map(
        lambda x: scale * nll_weight * x,
        mixture_nll_gradients(*constant((frames, slot_rgb, masks, likelihoods)), variance),
    )
    by_mean, by_log_variance = jax.tree.map(
        lambda x: scale * config.kl_weight * x, conditional_kl_gradient(fixed, constant(prior))
    )
    if noise is not None:
        logit_gradient = masks * (mask_gradient - (masks * mask_gradient).sum(-4, keepdims=True))
        (by_latents,) = constant(pull_back((rgb_gradient, logit_gradient)))
        by_latents = checkpoint_name(by_latents, LATENT_GRADIENT)
        by_mean += by_latents
        by_log_variance += 0.5 * jnp.exp(0.5 * fixed.log_variance) * noise * by_latents
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
        Posterior(by_mean, by_log_variance),
        features,
        config.fold,
    )
    return decoded, -log_likelihood.sum((-3, -2, -1)), inputs


def infer_frame(
    networks: Networks,
    initial_posterior: Posterior,
    memory: Memory,
    frame: Float[Array, "*b h w 3"],
    features: Float[Array, "*b h w f"] | None,
    noise: Float[Array, "r *b k l"],
    nll_weight: float | Float[Array, ""],
    config: ODDNConfig,
    *,
    num_decodings: int,
    deterministic: bool,
) -> tuple[Memory, Inference]:
    """Infers the slots of one frame.

    Every decoding is followed by a refinement; that of the last one matters for the memory alone, and does not take
    place in a frame with all T decodings (PROVIDE's code). A frame with fewer than T repeats the first in the entries
    before it, in `nll`, `kl` and `trajectory`, so that the last entry is always the last decoding's.

    Args:
      networks: the modules.
      initial_posterior: in front of the first decoding of each frame.
      memory: of the frame before.
      frame: pixels in [0, 1].
      features: further image channels for the refinement network.
      noise: standard normal; its first axis is T, its first entry is not used here.
      nll_weight: of the loss whose gradients the refinement network sees.
      config: the model's.
      num_decodings: 2 to T.
      deterministic: decode the posterior's mean in the last step.
    """
    hidden = memory.state.hidden
    prior = networks.prior(hidden)
    frame, features = jax.tree.map(partial(fold, size=config.fold), (frame, features))

    def refinement_step(posterior, state, latents, noise):
        decoded, nll, inputs = evaluate_and_look(
            lambda latents: networks.decode(latents, hidden),
            frame,
            features,
            posterior,
            prior,
            latents,
            noise,
            nll_weight,
            config,
        )
        delta, state = networks.refine(inputs, state, memory.state)
        return decoded, nll, jax.tree.map(jnp.add, posterior, delta), state

    refinement_step = recomputed(refinement_step, config, in_loop=False)
    posterior, state = initial_posterior, jax.tree.map(jnp.zeros_like, memory.state)
    trajectory, nll, kl = [], [], []
    # Unrolled, because the first step and the last are special and T (T + 1) / 2 - 1 steps compile fast enough.
    for step in range(num_decodings):
        step_noise = noise[step] if step else None
        if deterministic and step == num_decodings - 1:
            step_noise = jnp.zeros_like(noise[step])
        latents = sample(posterior, step_noise) if step else memory.first_latents
        decoded, step_nll, refined, next_state = refinement_step(posterior, state, latents, step_noise)
        trajectory.append(posterior)
        nll.append(step_nll)
        kl.append(conditional_kl(posterior, prior).sum(-1))
        if step < config.num_refinement_steps - 1:
            posterior, state = refined, next_state

    def over_steps(*steps):
        return jnp.stack((*steps[:1] * (config.num_refinement_steps - num_decodings), *steps), frame.ndim - 3)

    trajectory_over_steps, decoded = jax.tree.map(over_steps, *trajectory), unfold_pictures(decoded, config)
    inference = Inference(
        trajectory[-1], latents, decoded, over_steps(*nll), over_steps(*kl), trajectory_over_steps
    )
    return Memory(state, memory.first_latents), inference


def simulate_frame(
    networks: Networks, initial_posterior: Posterior, memory: Memory, config: ODDNConfig
) -> tuple[Memory, Decoded]:
    """Predicts the frame after the memory's, and takes it for observed, with nothing wrong in it, for the next memory.

    Source: PROVIDE's code: one refinement, for which the three gradients that the network sees are zero.
    """
    slot_rgb, slot_mask_logits = networks.decode(memory.first_latents, memory.state.hidden)
    decoded = compose(slot_rgb, slot_mask_logits)
    frame, seen = decoded.reconstruction, unfold_pictures(decoded, config)
    features = None
    if networks.features is not None:
        picture = seen.reconstruction
        features = networks.features(picture.reshape(-1, *picture.shape[-3:]))
        features = fold(features.reshape(*picture.shape[:-1], -1), config.fold)
    likelihoods = pixel_likelihoods(frame, slot_rgb, config.likelihood_variance)
    inputs = refinement_inputs(
        frame,
        slot_rgb,
        decoded.slot_masks,
        slot_mask_logits,
        likelihoods,
        mixture_log_likelihood(likelihoods, decoded.slot_masks),
        jnp.zeros_like(slot_rgb),
        jnp.zeros_like(slot_mask_logits),
        initial_posterior,
        jax.tree.map(jnp.zeros_like, initial_posterior),
        features,
        config.fold,
    )
    _, state = networks.refine(inputs, jax.tree.map(jnp.zeros_like, memory.state), memory.state)
    return Memory(state, memory.first_latents), seen
