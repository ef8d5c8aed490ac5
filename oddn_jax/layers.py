"""Dense and convolution layers with PyTorch's default initialisation, which the backbone's symmetry breaking relies on.

Sizes are written as (inputs, outputs), so that a reader can check Table 4's parameter counts line by line.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import variance_scaling
from jaxtyping import Array, Float

from oddn_jax.convolution import convolve


@jax.custom_vjp
def elu(x: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """x where it is positive, exp(x) - 1 elsewhere.

    Its slope is taken from its result, which the next layer keeps anyway: neither x nor the slope is kept for the
    backward pass, which would be as much memory again.
    """
    # `jax.nn.elu` chooses zeros instead of x in front of the exponential; of these a loop keeps a whole array.
    return jnp.where(x > 0, x, jnp.expm1(jnp.minimum(x, 0)))


def _elu_forward(x):
    y = elu(x)
    return y, y


def _elu_backward(y, gradient):
    return (gradient * (1 + jnp.minimum(y, 0)),)


elu.defvjp(_elu_forward, _elu_backward)


def kernel_init(gain: float = 1.0):
    """An initialiser that draws from `gain` times U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's default for kernels.

    In float32, as all parameters, where JAX's own default would be float64 with `JAX_ENABLE_X64`.
    """
    return variance_scaling(gain**2 / 3, "fan_in", "uniform", dtype=jnp.float32)


def uniform_init(bound: float):
    """An initialiser that draws from U(-bound, bound)."""

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def identity_init(factor: float):
    """An initialiser of square kernels that multiply by `factor`."""

    def init(key, shape, dtype=jnp.float32):
        return factor * jnp.eye(*shape, dtype=dtype)

    return init


def dense(
    inputs: int,
    outputs: int,
    *,
    use_bias: bool = True,
    dtype: str | None = None,
    gain: float = 1.0,
    init: Callable | None = None,
) -> nn.Dense:
    """A dense layer, kernel [inputs, outputs]; `init` draws its first kernel in place of `kernel_init(gain)`."""
    return nn.Dense(
        outputs, use_bias, dtype, kernel_init=init or kernel_init(gain), bias_init=uniform_init(inputs**-0.5)
    )


class Convolution(nn.Module):
    """A square convolution over [n h w c], kernel [window, window, inputs, outputs].

    The bias is added in its own precision: the bias of a convolution in bfloat16 has a gradient that sums over all
    pixels, and XLA would do that in bfloat16 too (measured: wrong by a half).
    """

    inputs: int
    outputs: int
    window: int = 3
    stride: int = 1
    padding: str = "SAME"
    dtype: str | None = None  # of the products; None takes that of the input
    gain: float = 1.0  # of the initial kernel
    pretrained: Callable | None = (
        None  # returns (kernel, bias) to start from; called only when parameters are made
    )

    @nn.compact
    def __call__(self, x: Float[Array, "n h w i"]) -> Float[Array, "n y x o"]:
        """Returns the convolved pictures."""
        shape = (self.window, self.window, self.inputs, self.outputs)
        initializers = (kernel_init(self.gain), uniform_init((self.window**2 * self.inputs) ** -0.5))
        if self.pretrained is not None:
            initializers = [lambda key, shape, i=i: jnp.asarray(self.pretrained()[i]) for i in (0, 1)]
        kernel = self.param("kernel", initializers[0], shape)
        bias = self.param("bias", initializers[1], shape[-1:])
        dtype = self.dtype or x.dtype
        return add_bias(convolve(x.astype(dtype), kernel.astype(dtype), self.stride, self.padding), bias)


@jax.custom_vjp
def add_bias(x: Float[Array, "*b h w c"], bias: Float[Array, " c"]) -> Float[Array, "*b h w c"]:
    """Adds a bias in no less than its own precision, and returns what has x's.

    The bias's gradient is taken by products with ones, picture by picture: XLA:CPU computes the terms of a plain sum
    while it adds them up, channel by channel in steps of a whole pixel, which took a third of a cheap step (measured).
    """
    return add_precisely(x, bias)


def _add_bias_forward(x, bias):
    return add_bias(x, bias), bias


def _add_bias_backward(bias, gradient):
    pixels = gradient.reshape(math.prod(gradient.shape[:-3]), -1, gradient.shape[-1])
    pixels = pixels.astype(jnp.promote_types(gradient.dtype, bias.dtype))
    ones = jnp.ones(pixels.shape[:2], pixels.dtype)
    return gradient, jnp.einsum("np,npc->nc", ones, pixels).sum(0).astype(bias.dtype)


add_bias.defvjp(_add_bias_forward, _add_bias_backward)


def add_precisely(x: Float[Array, "*b"], y: Float[Array, "*#b"]) -> Float[Array, "*b"]:
    """Adds in no less than y's precision, and returns what has x's."""
    return (x.astype(jnp.promote_types(x.dtype, y.dtype)) + y).astype(x.dtype)


def average_pixels(x: Float[Array, "*b h w c"], factor: int) -> Float[Array, "*b y x c"]:
    """Averages `factor` x `factor` pixels, which divide the picture, into one.

    Not `nn.avg_pool`, which XLA:CPU differentiates by going through every pixel of every window again.
    """
    *lead, height, width, channels = x.shape
    blocks = x.reshape(*lead, height // factor, factor, width // factor, factor, channels)
    return blocks.mean((-4, -2))


def fold(x: Float[Array, "*b h w c"], size: int) -> Float[Array, "*b y x c"]:
    """Puts the pixels of each block of `size` x `size` side by side: [*b h w c] to [*b h/size w*size c].

    What treats all pixels alike does not care where they lie. A layer that sees blocks takes them from here by a
    reshape to [*b h/size w/size size*size*c], and one that makes blocks leaves them so.
    """
    if size == 1:
        return x
    *lead, height, width, channels = x.shape
    blocks = x.reshape(*lead, height // size, size, width // size, size, channels)
    return jnp.swapaxes(blocks, -4, -3).reshape(*lead, height // size, width * size, channels)


def unfold(x: Float[Array, "*b y x c"], size: int) -> Float[Array, "*b h w c"]:
    """The inverse of `fold`."""
    if size == 1:
        return x
    *lead, rows, columns, channels = x.shape
    blocks = x.reshape(*lead, rows, columns // size**2, size, size, channels)
    return jnp.swapaxes(blocks, -4, -3).reshape(*lead, rows * size, columns // size, channels)


def normalize(x: Float[Array, "..."], num_axes: int) -> Float[Array, "..."]:
    """Zero mean and unit variance over the last `num_axes` axes, without parameters (eps 1e-5, population variance)."""
    axes = tuple(range(-num_axes, 0))
    mean = x.mean(axes, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(x.var(axes, keepdims=True) + 1e-5)


def coordinate_channels(height: int, width: int) -> Float[Array, "h w 2"]:
    """Row and column coordinate of each pixel, each running from -1 to 1."""
    rows, columns = jnp.linspace(-1, 1, height), jnp.linspace(-1, 1, width)
    return jnp.stack(jnp.meshgrid(rows, columns, indexing="ij"), -1)
