"""SRVP's convolutional coders: a frame to a vector and skip connections, and back."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import normal
from jaxtyping import Array, Float

# Channels of each layer, level by level from fine to coarse, in multiples of the first level's.
ENCODER_WIDTHS = {
    "vgg": ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8)),
    "dcgan": ((1,), (2,), (4,), (8,)),
}
# The same from coarse to fine; the layer that makes the colours is not among them.
DECODER_WIDTHS = {
    "vgg": ((8, 8, 4), (4, 4, 2), (2, 1), (1,)),
    "dcgan": ((4,), (2,), (1,), ()),
}


def batch_norm(name: str, train: bool, axis_name: str | None) -> nn.BatchNorm:
    """Batch normalisation over all axes but the last: by the batch in training, by running averages otherwise."""

    def scale_init(key, shape, dtype=jnp.float32):
        return 1 + 0.02 * jax.random.normal(key, shape, dtype)

    return nn.BatchNorm(
        not train, momentum=0.9, epsilon=1e-5, scale_init=scale_init, axis_name=axis_name, name=name
    )


class ConvolutionBlock(nn.Module):
    """Convolution without bias, batch normalisation, leaky ReLU.

    Attributes:
      outputs: channels.
      window: height and width of the kernel.
      stride: 2 halves the picture, or doubles it where `transposed`.
      transposed: the convolution's transpose.
      normalize: False leaves batch normalisation out.
      dtype: of the products.
      axis_name: of the mapped axis over which the statistics of a batch are averaged.
    """

    outputs: int
    window: int = 3
    stride: int = 1
    transposed: bool = False
    normalize: bool = True
    dtype: str = "float32"
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w i"], train: bool) -> Float[Array, "n p q o"]:
        """Returns the pictures of the next layer."""
        kind = nn.ConvTranspose if self.transposed else nn.Conv
        window, strides = (self.window, self.window), (self.stride, self.stride)
        layer = kind(
            self.outputs,
            window,
            strides,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=normal(0.02),
            name="conv",
        )
        x = layer(x)
        if self.normalize:
            x = batch_norm("norm", train, self.axis_name)(x)
        return jax.nn.leaky_relu(x, 0.2)


class Encoder(nn.Module):
    """A frame to its code, and what each level saw on the way.

    The last convolution of the published network is as wide as its input and is therefore written as a dense layer,
    which has the same parameters.

    Source: SRVP's code (4 levels; for 64x64 pixels the code is made from 4x4).

    Attributes:
      kind: "vgg" (3x3 convolutions and max pooling) or "dcgan" (4x4 convolutions of stride 2).
      channels: of the finest level.
      code_size: numbers in the code.
      dtype, axis_name: as in `ConvolutionBlock`.
    """

    kind: str
    channels: int
    code_size: int
    dtype: str = "float32"
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w 3"], train: bool
    ) -> tuple[Float[Array, "n c"], tuple[Float[Array, "n _ _ _"], ...]]:
        """Returns the codes in (-1, 1), and the outputs of the levels from coarse to fine."""
        options = {"dtype": self.dtype, "axis_name": self.axis_name}
        if self.kind == "dcgan":
            options |= {"window": 4, "stride": 2}
        skips = []
        for level, widths in enumerate(ENCODER_WIDTHS[self.kind]):
            if level and self.kind == "vgg":
                x = nn.max_pool(x, (2, 2), (2, 2))
            for layer, width in enumerate(widths):
                normalize = self.kind == "vgg" or level > 0
                block = ConvolutionBlock(
                    width * self.channels, normalize=normalize, name=f"block_{level}_{layer}", **options
                )
                x = block(x, train)
            skips.append(x)
        if self.kind == "vgg":
            x = nn.max_pool(x, (2, 2), (2, 2))
        code = nn.Dense(
            self.code_size, use_bias=False, dtype=self.dtype, kernel_init=normal(0.02), name="code"
        )(x.reshape(x.shape[0], -1))
        code = jnp.tanh(batch_norm("code_norm", train, self.axis_name)(code))
        return code, tuple(reversed(skips))


class Decoder(nn.Module):
    """A vector, and skip connections where there are any, to a frame.

    The first, transposed convolution of the published network sees a single pixel and the last one of the VGG variant
    has stride 1; they are written as the dense layer and the convolution that have the same parameters.

    Source: SRVP's code, the mirror of its encoder; no bias and no normalisation in front of the sigmoid.

    Attributes:
      kind: "vgg" (3x3 convolutions, nearest-neighbour doubling) or "dcgan" (transposed 4x4 convolutions of stride 2).
      channels: of the finest level.
      height, width: of the frame in pixels, multiples of 16.
      dtype, axis_name: as in `ConvolutionBlock`.
    """

    kind: str
    channels: int
    height: int
    width: int
    dtype: str = "float32"
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "n c"], skips: tuple[Float[Array, "n _ _ _"], ...], train: bool
    ) -> Float[Array, "n h w 3"]:
        """Returns frames in (0, 1).

        Args:
          x: content and state.
          skips: one for each level from coarse to fine, or none at all.
          train: normalise by the batch.
        """
        options = {"dtype": self.dtype, "axis_name": self.axis_name}
        if self.kind == "dcgan":
            options |= {"window": 4, "stride": 2, "transposed": True}
        height, width, channels = self.height // 16, self.width // 16, 8 * self.channels
        first = nn.Dense(
            height * width * channels,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=normal(0.02),
            name="first",
        )
        x = batch_norm("first_norm", train, self.axis_name)(first(x).reshape(-1, height, width, channels))
        x = jax.nn.leaky_relu(x, 0.2)
        for level, widths in enumerate(DECODER_WIDTHS[self.kind]):
            if self.kind == "vgg":
                x = x.repeat(2, -3).repeat(2, -2)
            if skips:
                x = jnp.concatenate([x, skips[level].astype(x.dtype)], -1)
            for layer, outputs in enumerate(widths):
                block = ConvolutionBlock(outputs * self.channels, name=f"block_{level}_{layer}", **options)
                x = block(x, train)
        if self.kind == "vgg":
            last, window, strides = nn.Conv, (3, 3), (1, 1)
        else:
            last, window, strides = nn.ConvTranspose, (4, 4), (2, 2)
        x = last(
            3, window, strides, use_bias=False, dtype=self.dtype, kernel_init=normal(0.02), name="colours"
        )(x)
        return jax.nn.sigmoid(x.astype(jnp.promote_types(x.dtype, jnp.float32)))
