"""A convolution, and its gradients, in the forms that XLA computes fast on a CPU."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from oddn_jax.compilation import platform

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def convolve(
    x: Float[Array, "n h w i"], kernel: Float[Array, "y x i o"], stride: int = 1, padding: str = "SAME"
) -> Float[Array, "n p q o"]:
    """A convolution without bias.

    On the CPU, layers that have more inputs than outputs, or fewer, are computed in another order, equal but for
    rounding, that suits XLA's library there: see `_convolve_unequal`. Not in bfloat16, whose sums would be rounded.
    """
    height, width, inputs, outputs = kernel.shape
    keeps_size = stride == 1 and padding == "SAME" and height % 2 == width % 2 == 1 and height > 1
    precise = x.dtype == kernel.dtype and x.dtype.itemsize >= 4
    if keeps_size and precise and inputs != outputs and platform() == "cpu":
        return _convolve_unequal(x, kernel)
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=DIMENSIONS)


@jax.custom_vjp
def _convolve_unequal(x: Float[Array, "n h w i"], kernel: Float[Array, "y x i o"]) -> Float[Array, "n h w o"]:
    """A convolution that keeps the picture's size, with products of matrices that are as wide as they can be.

    XLA:CPU makes one matrix product of each pass, and a slow one if it has few columns. Hence, measured
    (docs/speed_and_memory.md): fewer than 16 outputs are computed for each row of the kernel apart, three times as many
    columns, and the rows' results added, shifted; and the kernel's gradient is taken with the narrower of picture and
    gradient as the one of which XLA makes patches (in the other order the same numbers come out mirrored).
    """
    height, _, inputs, outputs = kernel.shape
    if not outputs < min(inputs, 16):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=DIMENSIONS)
    of_rows = kernel.transpose(1, 2, 0, 3).reshape(1, -1, inputs, height * outputs)
    y = jax.lax.conv_general_dilated(x, of_rows, (1, 1), "SAME", dimension_numbers=DIMENSIONS)
    y = jnp.pad(y, ((0, 0), (height // 2, height // 2), (0, 0), (0, 0)))
    y = y.reshape(*y.shape[:-1], height, outputs)
    return sum(y[:, row : row + x.shape[1], :, row] for row in range(height))


def _convolve_unequal_forward(x, kernel):
    return _convolve_unequal(x, kernel), (x, kernel)


def _convolve_unequal_backward(inputs, gradient):
    x, kernel = inputs
    of_x = convolve(gradient, _mirrored(kernel))
    if x.shape[-1] < gradient.shape[-1]:
        return of_x, _kernel_gradient(x, gradient, kernel.shape)
    return of_x, _mirrored(_kernel_gradient(gradient, x, _mirrored(kernel).shape))


_convolve_unequal.defvjp(_convolve_unequal_forward, _convolve_unequal_backward)


def _kernel_gradient(x, gradient, shape):
    """Of the kernel by which x was convolved, given the result's gradient."""

    def plain(kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=DIMENSIONS)

    return jax.linear_transpose(plain, jax.ShapeDtypeStruct(shape, x.dtype))(gradient)[0]


def _mirrored(kernel: Float[Array, "y x i o"]) -> Float[Array, "y x o i"]:
    """The kernel of the transposed convolution."""
    return jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
