"""MONet: slots by recursive attention, frame by frame; the source of the features of the original ALOE."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, PRNGKeyArray

from oddn_jax import inputs
from oddn_jax.backbone import as_function
from oddn_jax.baselines.monet.config import MONetConfig
from oddn_jax.baselines.monet.networks import AttentionNetwork, ComponentDecoder, ComponentEncoder
from oddn_jax.compilation import platform
from oddn_jax.decoder import Decoded, compose
from oddn_jax.distributions import Posterior, sample, slot_kl
from oddn_jax.losses import Losses
from oddn_jax.metrics import training_diagnostics
from oddn_jax.video_model import Keys, Metrics, Params, Seen, Video, VideoModel, check_one_source


class Decomposition(NamedTuple):
    """The slots of each frame, in the order in which attention found them."""

    log_masks: Float[Array, "*b k h w 1"]  # of the attention
    slot_masks: Float[Array, "*b k h w 1"]  # the same, not their logarithms; they sum to 1 over k
    posterior: Posterior  # [*b k l]
    latents: Float[Array, "*b k l"]  # its sample, or its mean when inference is deterministic
    decoded: Decoded  # of these latents alone: its masks are what the decoder makes of the attention's
    reconstruction: Float[Array, "*b h w 3"]  # decoded colours, mixed by the attention's masks
    nll: Float[Array, "*b"]  # nats per frame, normaliser included
    latent_kl: Float[Array, "*b"]  # nats per frame, summed over slots
    mask_kl: Float[Array, "*b"]  # nats per frame, of the attention's masks from the decoded ones


def attend_recursively(
    attention: Callable, images: Float[Array, "n h w 3"], num_slots: int, unroll: int
) -> Float[Array, "n k h w 1"]:
    """Hands each slot a share of what the slots before it have left; the last one takes the rest.

    Args:
      attention: (images, logarithm of what is left [n h w 1]) -> logit of the next slot's share [n h w 1].
      images: pixels in [0, 1].
      num_slots: at least 2.
      unroll: slots per iteration of the compiled loop.

    Returns:
      The logarithms of the masks, which sum to 1 over the slots.

    Source: MONet paper, section 2.2: the scope s starts at 1; m = s alpha, then s (1 - alpha), both in log space.
    """

    def step(log_scope, _):
        logit = attention(images, log_scope)
        return log_scope + jax.nn.log_sigmoid(-logit), log_scope + jax.nn.log_sigmoid(logit)

    log_scope = jnp.zeros((*images.shape[:-1], 1), images.dtype)
    log_scope, log_masks = jax.lax.scan(step, log_scope, length=num_slots - 1, unroll=unroll)
    return jnp.moveaxis(jnp.concatenate([log_masks, log_scope[None]]), 0, 1)


def mask_kl(log_masks: Float[Array, "*b k h w 1"], logits: Float[Array, "*b k h w 1"]) -> Float[Array, "*b"]:
    """KL divergence of attended masks from the softmax of the decoded logits over the slots, in nats per frame."""
    difference = log_masks - jax.nn.log_softmax(logits, axis=-4)
    return (jnp.exp(log_masks) * difference).sum((-4, -3, -2, -1))


def slot_mixture_nll(
    images: Float[Array, "*b h w 3"],
    slot_rgb: Float[Array, "*b k h w 3"],
    log_masks: Float[Array, "*b k h w 1"],
    scales: Float[Array, " k"],
) -> Float[Array, "*b"]:
    """Negative log-likelihood of a frame under a mixture of slots, in nats per frame, normaliser included.

    Source: MONet paper, Eq. 3, first term; each colour value has a mixture of its own, as in the paper's Eq. 1 for ODDN
    and in the public PyTorch implementations of MONet.
    """
    scales = scales[:, None, None, None]
    errors = (images[..., None, :, :, :] - slot_rgb) / scales
    log_densities = -0.5 * errors**2 - jnp.log(scales) - 0.5 * math.log(2 * math.pi)
    return -jax.nn.logsumexp(log_masks + log_densities, axis=-4).sum((-3, -2, -1))


class MONet(VideoModel):
    """Attention that takes a frame apart, and one variational autoencoder for all its parts.

    Source: Burgess et al., MONet: Unsupervised Scene Decomposition and Representation, 2019.

    Attributes:
      config: `MONetConfig`.
    """

    config: MONetConfig
    Config = MONetConfig

    def setup(self):
        self.attention = AttentionNetwork(self.config)
        self.encoder = ComponentEncoder(self.config)
        self.decoder = ComponentDecoder(self.config)

    def initialize_parameters(self) -> None:
        """Runs each submodule once on zeros: `model.init(key, method="initialize_parameters")` needs no video."""
        images = jnp.zeros((1, self.config.image_height, self.config.image_width, 3))
        self.attention(images, images[..., :1])
        self.encoder(images, images[..., :1])
        self.decoder(jnp.zeros((1, self.config.latent_size)))

    def attend(self, video: Float[Array, "*b h w 3"]) -> Float[Array, "*b k h w 1"]:
        """Logarithms of the masks of each frame's slots, which sum to 1 over the slots."""
        config, video = self.config, self.check_frames(video)
        # XLA:CPU differentiates convolutions inside a loop 40 times slower than outside of one (measured).
        unroll = config.unroll or (config.num_slots if platform() == "cpu" else 1)
        unroll = min(unroll, config.num_slots - 1)
        images = video.reshape(-1, *video.shape[-3:])
        log_masks = attend_recursively(as_function(self.attention), images, config.num_slots, unroll)
        return log_masks.reshape(*video.shape[:-3], *log_masks.shape[1:])

    def decode(self, latents: Float[Array, "*b k l"]) -> Decoded:
        """Decodes slots into their pictures, their masks, and the picture they make together without attention."""
        inputs.check_latents(latents, (None, self.config.latent_size))
        x = self.decoder(latents.reshape(-1, latents.shape[-1]))
        x = x.reshape(*latents.shape[:-1], *x.shape[1:])
        return compose(jax.nn.sigmoid(x[..., :3]), x[..., 3:])

    def infer(
        self,
        video: Float[Array, "*b h w 3"],
        key: PRNGKeyArray | None = None,
        *,
        noise: Float[Array, "*b k l"] | None = None,
        deterministic: bool = False,
    ) -> Decomposition:
        """Takes each frame apart, independently of all others.

        Args:
          video: pixels in [0, 1], of the configured height and width; `*b` is usually (batch, time).
          key: for the samples of the posteriors.
          noise: standard normal, instead of the key.
          deterministic: the latents are the posterior's mean, which needs neither key nor noise.

        Raises:
          ValueError: the frames are not as `VideoModel` says, or a sample is wanted and neither or both of key and
            noise are given, or the noise has another shape.
        """
        config, video = self.config, self.check_frames(video)
        size = (config.image_height, config.image_width)
        if not deterministic:
            check_one_source(key, noise)
            if noise is not None:
                inputs.check_latents(
                    noise, (*video.shape[:-3], config.num_slots, config.latent_size), "noise"
                )
        log_masks = self.attend(video)
        slots = jnp.broadcast_to(video[..., None, :, :, :], (*log_masks.shape[:-1], 3))
        posterior = self.encoder(slots.reshape(-1, *size, 3), log_masks.reshape(-1, *size, 1))
        posterior = jax.tree.map(lambda x: x.reshape(*log_masks.shape[:-3], -1), posterior)
        if deterministic:
            latents = posterior.mean
        else:
            if noise is None:
                noise = jax.random.normal(key, posterior.mean.shape, video.dtype)
            latents = sample(posterior, noise)
        decoded = self.decode(latents)
        scales = jnp.array([config.background_scale] + [config.foreground_scale] * (config.num_slots - 1))
        slot_masks = jnp.exp(log_masks)
        return Decomposition(
            log_masks,
            slot_masks,
            posterior,
            latents,
            decoded,
            reconstruction=(slot_masks * decoded.slot_rgb).sum(-4),
            nll=slot_mixture_nll(video, decoded.slot_rgb, log_masks, scales.astype(video.dtype)),
            latent_kl=slot_kl(posterior).sum(-1),
            mask_kl=mask_kl(log_masks, decoded.slot_mask_logits),
        )

    def __call__(
        self,
        video: Float[Array, "*b h w 3"],
        key: PRNGKeyArray | None = None,
        *,
        noise: Float[Array, "*b k l"] | None = None,
    ) -> Decomposition:
        """Takes each frame apart; see `infer`."""
        if self.is_initializing():
            self.initialize_parameters()
        return self.infer(video, key, noise=noise)

    @nn.nowrap
    def loss(
        self, params: Params, video: Video, keys: Keys, *, train: bool = True, axis_name: str | None = None
    ) -> tuple[Metrics, Params]:
        """MONet's objective; see `VideoModel`."""
        config, video = self.config, self.check_clips(video, keys)
        shape = (video.shape[1], config.num_slots, config.latent_size)
        noise = jax.vmap(lambda key: jax.random.normal(key, shape, video.dtype))(keys)
        outputs = self.apply({"params": params}, video, noise=noise)
        named = monet_losses(outputs, config).by_name()
        diagnostics = (outputs.reconstruction, outputs.slot_masks, slot_kl(outputs.posterior))
        return named | training_diagnostics(video, *diagnostics), {}

    @nn.nowrap
    def look(
        self, params: Params, video: Video, keys: Keys, *, num_predicted: int = 0, num_observed: int = 2
    ) -> Seen:
        """The slots of every frame, without chance; see `VideoModel`. Nothing is predicted."""
        video = self.check_clips(video, keys)
        outputs = self.apply({"params": params}, video, deterministic=True, method="infer")
        return Seen(outputs.reconstruction, outputs.decoded.slot_rgb, outputs.slot_masks, outputs.latents)


def monet_losses(outputs: Decomposition, config: MONetConfig) -> Losses:
    """Likelihood, divergence of the latents, and divergence of the decoded masks from the attended ones.

    The record's `kl` holds both divergences; its `prediction` is 0.

    Source: MONet paper, Eq. 3.

    Args:
      outputs: of `MONet.__call__` on a batch of clips, [b t ...].
      config: the model's.
    """
    latent_kl, masks_kl = outputs.latent_kl.sum(-1).mean(), outputs.mask_kl.sum(-1).mean()
    reconstruction = outputs.nll.sum(-1).mean()
    kl = config.latent_kl_weight * latent_kl + config.mask_kl_weight * masks_kl
    terms = {
        "nll": outputs.nll.mean(),
        "latent_kl": outputs.latent_kl.mean(),
        "mask_kl": outputs.mask_kl.mean(),
    }
    return Losses(reconstruction + kl, reconstruction, kl, jnp.zeros_like(kl), terms)
