"""Backbone: the slot inference that ODDN and its IODINE baselines share."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, PRNGKeyArray

from oddn_jax.config import ODDNConfig
from oddn_jax.decoder import Decoded, SpatialBroadcastDecoder, compose
from oddn_jax.distributions import Posterior
from oddn_jax.features import FeatureStack
from oddn_jax.inference import Inference, iterative_inference
from oddn_jax.layers import uniform_init
from oddn_jax.refinement import NUM_IMAGE_CHANNELS, RefinementInputs, RefinementNetwork


class Backbone(nn.Module):
    """IODINE with 64 latents per slot, as the paper uses it: frames in, slots out, frame by frame.

    Source: paper 3.1 and the released code whose parameter count is Table 4's.
    """

    config: ODDNConfig

    def setup(self):
        config = self.config
        if config.features != "none":
            self.features = FeatureStack(config)
        self.decoder = SpatialBroadcastDecoder(config)
        self.refinement = RefinementNetwork(config)
        init = uniform_init(config.initial_posterior_range)
        self.initial_posterior = self.param("initial_posterior", init, (2 * config.latent_size,))

    def infer(
        self,
        video: Float[Array, "*b h w 3"],
        key: PRNGKeyArray | None = None,
        *,
        noise: Float[Array, "r *b k l"] | None = None,
        deterministic: bool = False,
    ) -> Inference:
        """Infers the slots of each frame, independently of all others.

        Args:
          video: pixels in [0, 1], of the configured height and width; `*b` is usually (batch, time).
          key: for the samples of the posteriors.
          noise: standard normal, instead of the key; its first axis is the number of decodings.
          deterministic: the last latents are the posterior's mean; the steps before it still sample.

        Raises:
          ValueError: the frames have another size, or neither or both of key and noise are given.
        """
        config = self.config
        if video.shape[-3:-1] != (config.image_height, config.image_width):
            raise ValueError(
                f"frames are {video.shape[-3]}x{video.shape[-2]} (height x width), "
                f"the model's are {config.image_height}x{config.image_width}"
            )
        batch = video.shape[:-3]
        slots = (*batch, config.num_slots)
        if (key is None) == (noise is None):
            raise ValueError("give either a key or noise, not both and not neither")
        if noise is None:
            noise = jax.random.normal(
                key, (config.num_refinement_steps, *slots, config.latent_size), video.dtype
            )
        initial = jnp.broadcast_to(self.initial_posterior, (*slots, 2 * config.latent_size)).astype(
            video.dtype
        )
        features = None
        if config.features != "none":
            features = self.features(video.reshape(-1, *video.shape[-3:]))
            features = features.reshape(*video.shape[:-1], -1)
        return iterative_inference(
            as_function(self.decoder),
            as_function(self.refinement),
            video,
            features,
            Posterior(*jnp.split(initial, 2, -1)),
            self.refinement.initial_state(slots, video.dtype),
            noise,
            config,
            deterministic=deterministic,
        )

    def decode(self, latents: Float[Array, "*b k l"]) -> Decoded:
        """Decodes slots into their pictures, their masks, and the picture they make together."""
        return compose(*self.decoder(latents))

    def initialize_parameters(self) -> None:
        """Runs each submodule once on zeros: `model.init(key, method="initialize_parameters")` needs no video.

        The usual `model.init(key, video, key)` gives the same parameters, after tracing the whole model.
        """
        config = self.config
        height, width, latent_size = config.image_height, config.image_width, config.latent_size
        self.decoder(jnp.zeros((1, latent_size)))
        channels = NUM_IMAGE_CHANNELS
        if config.features != "none":
            channels += self.features(jnp.zeros((1, height, width, 3))).shape[-1]
        inputs = RefinementInputs(jnp.zeros((1, height, width, channels)), jnp.zeros((1, 4 * latent_size)))
        self.refinement(inputs, self.refinement.initial_state((1,), jnp.float32))


def as_function(module: nn.Module) -> Callable:
    """A bound submodule as a pure function of its inputs, for use under `jax.lax` control flow and `jax.vjp`."""
    unbound, variables = module.unbind()
    return lambda *inputs: unbound.apply(variables, *inputs)
