"""FeatureStack: SqueezeNet's first layers and three convolutions, 16 further channels for the refinement network.

The paper does not mention it; the parameter count of its Table 4 contains it to the unit, and so does the released
code of the backbone.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from oddn_jax.config import NUM_FEATURES, ODDNConfig
from oddn_jax.layers import Convolution
from oddn_jax.squeezenet_weights import imagenet_weights


def resize_for_squeezenet(video: Float[Array, "n h w 3"]) -> Float[Array, "n H W 3"]:
    """Nearest-neighbour resize to (4 h + 1, 4 w + 1), so that SqueezeNet's strides bring it back to (h, w).

    Destination i reads source floor(i * in / out), PyTorch's rule; jax.image.resize has another (half-pixel centres).
    """
    for axis, size in ((1, video.shape[1]), (2, video.shape[2])):
        video = jnp.take(video, np.arange(4 * size + 1) * size // (4 * size + 1), axis=axis)
    return video


class Fire(nn.Module):
    """SqueezeNet's block: a 1x1 convolution to few channels, then 1x1 and 3x3 convolutions side by side."""

    inputs: int
    squeezed: int
    expanded: int
    layer: Callable  # as `oddn_jax.layers.Convolution`, with the layer's name in front

    def setup(self):
        self.squeeze = self.layer("squeeze", self.inputs, self.squeezed, window=1)
        self.expand_1x1 = self.layer("expand_1x1", self.squeezed, self.expanded, window=1)
        self.expand_3x3 = self.layer("expand_3x3", self.squeezed, self.expanded)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w e"]:
        """Returns the two expansions, concatenated."""
        x = jax.nn.relu(self.squeeze(x))
        return jnp.concatenate([jax.nn.relu(self.expand_1x1(x)), jax.nn.relu(self.expand_3x3(x))], -1)


class SqueezeNet(nn.Module):
    """The first five layers of SqueezeNet 1.1: convolution, ReLU, max pooling, two Fire blocks.

    Source: Iandola et al. 2016, version 1.1; weights drawn at random, or those trained on ImageNet.
    """

    imagenet: bool
    dtype: str

    def setup(self):
        def layer(name, inputs, outputs, **options):
            weights = (lambda: imagenet_weights()[name]) if self.imagenet else None
            return Convolution(inputs, outputs, dtype=self.dtype, pretrained=weights, **options)

        def fire(name, inputs):
            return Fire(
                inputs, 16, 64, lambda part, *sizes, **options: layer(f"{name}/{part}", *sizes, **options)
            )

        self.conv = layer("conv", 3, 64, stride=2, padding="VALID")
        self.fire = [fire("fire_0", 64), fire("fire_1", 128)]

    def __call__(self, x: Float[Array, "n H W 3"]) -> Float[Array, "n h w 128"]:
        """Pixels in [0, 1] of size (4 h + 1, 4 w + 1) to 128 channels of size (h, w)."""
        x = jax.nn.relu(self.conv(x))
        # Ceil mode: one more row and column at the end, where the window reaches over the border.
        x = nn.max_pool(x, (3, 3), (2, 2), padding=((0, 1), (0, 1)))
        for fire in self.fire:
            x = fire(x)
        return x


class FeatureStack(nn.Module):
    """SqueezeNet's first layers, then three convolutions to 16 channels; one result for all slots and steps."""

    config: ODDNConfig

    def setup(self):
        dtype = self.config.compute_dtype
        self.squeezenet = SqueezeNet(self.config.features == "imagenet", dtype)
        self.conv = [Convolution(i, o, dtype=dtype) for i, o in ((128, 64), (64, 32), (32, NUM_FEATURES))]

    def __call__(self, video: Float[Array, "n h w 3"]) -> Float[Array, "n h w 16"]:
        """Feature channels of frames with pixels in [0, 1]."""
        x = self.squeezenet(resize_for_squeezenet(video))
        if self.config.freeze_features:
            x = jax.lax.stop_gradient(x)
        for conv in self.conv:
            x = jax.nn.elu(conv(x))
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))
