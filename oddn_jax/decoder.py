"""SpatialBroadcastDecoder: one slot's latents to its picture and mask logit."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from oddn_jax.config import ODDNConfig
from oddn_jax.layers import (
    Convolution,
    add_precisely,
    convolve,
    coordinate_channels,
    elu,
    kernel_init,
    unfold,
    uniform_init,
)

NUM_CONVOLUTIONS = 5
NUM_PYRAMID_CONVOLUTIONS = 4


class Decoded(NamedTuple):
    """What a set of slots looks like, each slot alone and all together."""

    slot_rgb: Float[Array, "*b k h w 3"]  # in (0, 1)
    slot_mask_logits: Float[Array, "*b k h w 1"]
    slot_masks: Float[Array, "*b k h w 1"]  # sum to 1 over k
    reconstruction: Float[Array, "*b h w 3"]  # in (0, 1)


def compose(slot_rgb: Float[Array, "*b k h w 3"], slot_mask_logits: Float[Array, "*b k h w 1"]) -> Decoded:
    """Lets the slots compete for each pixel and mixes their pictures.

    Source: paper Eq. 1-2: masks are the softmax of the logits over the slots.
    """
    slot_masks = jax.nn.softmax(slot_mask_logits, axis=-4)
    return Decoded(slot_rgb, slot_mask_logits, slot_masks, (slot_masks * slot_rgb).sum(-4))


def unfold_pictures(decoded: Decoded, config: ODDNConfig) -> Decoded:
    """The pixels where they belong: what `compose` makes of the decoder's pictures is folded as these are."""
    return Decoded(*(unfold(picture, config.fold) for picture in decoded))


class BroadcastConvolution(nn.Module):
    """A 3x3 convolution over latents tiled to a picture, with two coordinate channels in front, without the tiling.

    Away from the border each pixel of the tiled latents sees the same neighbours, so the nine taps of the kernel are
    applied once per slot, and summed for each pixel over those taps that lie inside the picture. Parameters and result
    are those of a convolution of the tiled picture, at a quarter less work for the whole decoder (our choice).
    """

    config: ODDNConfig

    @nn.compact
    def __call__(self, latents: Float[Array, "n l"]) -> Float[Array, "n h w c"]:
        """Returns the convolved picture of each slot."""
        config = self.config
        height, width = config.image_height >> config.pyramid, config.image_width >> config.pyramid
        channels = config.convolution_channels
        inputs = 2 + latents.shape[-1]
        kernel = self.param("kernel", kernel_init(config.kernel_gain), (3, 3, inputs, channels))
        bias = self.param("bias", uniform_init((9 * inputs) ** -0.5), (channels,))
        of_coordinates, of_latents = kernel[:, :, :2], kernel[:, :, 2:].astype(config.compute_dtype)
        taps = jnp.einsum("nl,yxlc->nyxc", latents.astype(config.compute_dtype), of_latents)
        rows, columns = (_taps_inside(size).astype(taps.dtype) for size in (height, width))
        picture = jnp.einsum("wx,nhxc->nhwc", columns, jnp.einsum("hy,nyxc->nhxc", rows, taps))
        coordinates = coordinate_channels(height, width).astype(kernel.dtype)[None]
        return add_precisely(picture, convolve(coordinates, of_coordinates) + bias)


def _taps_inside(size: int) -> Float[Array, "size 3"]:
    """1 where the neighbour one before, at, or one after a position lies in 0 .. size - 1."""
    neighbours = jnp.arange(size)[:, None] + jnp.arange(-1, 2)
    return ((neighbours >= 0) & (neighbours < size)).astype(jnp.float32)


class SpatialBroadcastDecoder(nn.Module):
    """Tiles the latents over the picture, adds coordinates, and convolves.

    With `pyramid` the broadcast map is an eighth of the picture, and each convolution after it makes four pixels of
    every one (sub-pixel convolution): only the four output channels have the picture's size, and these stay folded.

    Source: the backbone's code; no dense layer in front of the broadcast. The pyramid is our choice: the broadcast to a
    small map is Slot Attention's, and XLA:CPU has no fast transposed convolution to enlarge it with.
    """

    config: ODDNConfig

    def setup(self):
        config = self.config
        channels, dtype = config.convolution_channels, config.compute_dtype
        num_inner = (NUM_PYRAMID_CONVOLUTIONS if config.pyramid else NUM_CONVOLUTIONS) - 2
        pixels = 4 if config.pyramid else 1  # that a convolution makes of each
        inner = [
            Convolution(channels, pixels * channels, dtype=dtype, gain=self.config.kernel_gain)
            for _ in range(num_inner)
        ]
        last = Convolution(channels, config.fold**2 * 4, dtype=dtype)
        self.conv = [BroadcastConvolution(config), *inner, last]

    def __call__(
        self, latents: Float[Array, "*b k l"]
    ) -> tuple[Float[Array, "*b k h w 3"], Float[Array, "*b k h w 1"]]:
        """Returns the slots' mean colours in (0, 1) and their mask logits, folded by `config.fold`."""
        config, channels = self.config, self.config.convolution_channels
        x = elu(self.conv[0](latents.reshape(-1, latents.shape[-1])))
        for conv in self.conv[1:-1]:
            x = conv(x)
            if config.pyramid:
                x = unfold(x.reshape(*x.shape[:2], -1, channels), 2)
            x = elu(x)
        x = self.conv[-1](x)
        x = x.reshape(*latents.shape[:-1], x.shape[1], -1, 4).astype(jnp.promote_types(x.dtype, jnp.float32))
        rgb, mask_logits = jax.nn.sigmoid(x[..., :3]), x[..., 3:]
        if config.background_slot:
            first = jnp.arange(latents.shape[-2]) == 0
            mask_logits += config.background_slot * first[:, None, None, None]
        return rgb, mask_logits
