"""MONet's networks: the attention that shares out a picture, and the coders of its parts."""

import itertools
import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from oddn_jax.baselines.monet.config import MONetConfig
from oddn_jax.distributions import Posterior
from oddn_jax.layers import Convolution, coordinate_channels, dense, kernel_init


class AttentionBlock(nn.Module):
    """3x3 convolution without bias, instance normalisation with a learned offset, ReLU."""

    outputs: int
    dtype: str

    @nn.compact
    def __call__(self, x: Float[Array, "n h w i"]) -> Float[Array, "n h w o"]:
        """Returns pictures of the same size."""
        conv = nn.Conv(
            self.outputs, (3, 3), use_bias=False, dtype=self.dtype, kernel_init=kernel_init(), name="conv"
        )
        return jax.nn.relu(nn.InstanceNorm(epsilon=1e-5, use_scale=False, name="norm")(conv(x)))


class AttentionNetwork(nn.Module):
    """U-Net from a picture and the scope to the logit of the next slot's share.

    Source: MONet paper, B.2; the numbers of channels are those of the public PyTorch implementations.
    """

    config: MONetConfig

    def setup(self):
        config, dtype = self.config, self.config.compute_dtype
        blocks, channels = config.num_attention_blocks, config.attention_channels
        sizes = [channels if level < blocks - 3 else 2 * channels for level in range(blocks)]
        self.down = [AttentionBlock(size, dtype) for size in sizes]
        # On the way up each block sees what is below it and its counterpart, and fits the next one's counterpart.
        self.up = [AttentionBlock(size, dtype) for size in [*reversed(sizes[:-1]), channels]]
        hidden = config.attention_hidden_size
        coarse = (config.image_height * config.image_width) // 4 ** (blocks - 1) * sizes[-1]
        self.bottom = [
            dense(i, o, dtype=dtype) for i, o in ((coarse, hidden), (hidden, hidden), (hidden, coarse))
        ]
        self.logit = Convolution(channels, 1, 1, dtype=dtype)

    def __call__(
        self, images: Float[Array, "n h w 3"], log_scope: Float[Array, "n h w 1"]
    ) -> Float[Array, "n h w 1"]:
        """Returns the logit of the share of what is left."""
        x, skips = jnp.concatenate([images, log_scope], -1), []
        for level, block in enumerate(self.down):
            if level:
                x = x[:, ::2, ::2]
            x = block(x)
            skips.append(x)
        shape, x = x.shape, x.reshape(x.shape[0], -1)
        for layer in self.bottom:
            x = jax.nn.relu(layer(x))
        x = x.reshape(shape)
        for level, block in enumerate(self.up):
            if level:
                x = x.repeat(2, -3).repeat(2, -2)
            x = block(jnp.concatenate([x, skips.pop()], -1))
        return self.logit(x).astype(log_scope.dtype)


class ComponentEncoder(nn.Module):
    """A picture and a slot's log mask to the posterior of the slot's latents.

    Source: MONet paper, B.1.
    """

    config: MONetConfig

    def setup(self):
        config, dtype = self.config, self.config.compute_dtype
        sizes = [4] + [config.component_channels] * 2 + [2 * config.component_channels] * 2
        self.conv = [Convolution(i, o, stride=2, dtype=dtype) for i, o in itertools.pairwise(sizes)]
        pixels = math.ceil(config.image_height / 16) * math.ceil(config.image_width / 16)
        hidden = config.component_hidden_size
        self.code = dense(pixels * sizes[-1], hidden, dtype=dtype)
        self.parameters = dense(hidden, 2 * config.latent_size, dtype=dtype)

    def __call__(self, images: Float[Array, "n h w 3"], log_masks: Float[Array, "n h w 1"]) -> Posterior:
        """Returns the posterior of one slot's latents."""
        x = jnp.concatenate([images, log_masks], -1)
        for conv in self.conv:
            x = jax.nn.relu(conv(x))
        x = self.parameters(jax.nn.relu(self.code(x.reshape(x.shape[0], -1)))).astype(images.dtype)
        return Posterior(*jnp.split(x, 2, -1))


class ComponentDecoder(nn.Module):
    """Spatial broadcast decoder: latents tiled over a picture 8 pixels larger, which its convolutions eat up.

    Source: MONet paper, B.1.
    """

    config: MONetConfig

    def setup(self):
        config, dtype = self.config, self.config.compute_dtype
        sizes = (
            [config.latent_size + 2] + [config.component_channels] * 2 + [2 * config.component_channels] * 2
        )
        self.conv = [Convolution(i, o, padding="VALID", dtype=dtype) for i, o in itertools.pairwise(sizes)]
        self.output = Convolution(sizes[-1], 4, 1, dtype=dtype)

    def __call__(self, latents: Float[Array, "n l"]) -> Float[Array, "n h w 4"]:
        """Returns, before any squashing, colours and mask logit."""
        height, width = self.config.image_height + 8, self.config.image_width + 8
        tiled = jnp.broadcast_to(latents[:, None, None], (latents.shape[0], height, width, latents.shape[-1]))
        coordinates = jnp.broadcast_to(coordinate_channels(height, width), (*tiled.shape[:-1], 2))
        x = jnp.concatenate([tiled, coordinates.astype(tiled.dtype)], -1)
        for conv in self.conv:
            x = jax.nn.relu(conv(x))
        return self.output(x).astype(latents.dtype)
