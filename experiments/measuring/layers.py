"""How fast this machine computes one convolution, by layer, pass and library."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import oddn_jax
from experiments.config import TrainConfig
from experiments.measuring.speed import compile_function, interleave
from oddn_jax.convolution import DIMENSIONS, convolve
from oddn_jax.refinement import NUM_SLOT_CHANNELS

PASSES = ("forward", "input gradient", "kernel gradient")


def measure_layers(config: TrainConfig, repeats: int) -> list[dict[str, Any]]:
    """The 3x3 convolutions of a model of slots, at the size and for the number of pictures of a training batch.

    Returns:
        a row for each layer and pass: `inputs`, `outputs`, `pictures`, `pass`, and GFLOP/s by choice: "YNNPACK" and
        "Eigen" compute JAX's own convolution (where the backend is the CPU), "used" is what the models do here.

    Raises:
        ValueError: the model has no `convolution_channels`.
    """
    model = config.model
    if not hasattr(model, "convolution_channels"):
        raise ValueError("--parts=layers: this system's layers are not those of the backbone")
    channels, pictures = (
        model.convolution_channels,
        config.batch_size * config.curriculum[-1][1] * model.num_slots,
    )
    rows = []
    for inputs, outputs in ((channels, channels), (channels, 4), (NUM_SLOT_CHANNELS, channels)):
        random = np.random.default_rng(0)
        x, kernel, gradient = (
            jnp.asarray(random.standard_normal(shape, np.float32), model.compute_dtype)
            for shape in (
                (pictures, model.image_height, model.image_width, inputs),
                (3, 3, inputs, outputs),
                (pictures, model.image_height, model.image_width, outputs),
            )
        )
        for name in PASSES:
            functions = {
                choice: compile_function(_pass(convolution, name), x, kernel, gradient, options=options)
                for choice, (convolution, options) in _choices().items()
            }
            seconds = interleave({choice: one.run for choice, one in functions.items()}, repeats)
            gflop = 2e-9 * gradient.size * 9 * inputs
            row = {"inputs": inputs, "outputs": outputs, "pictures": pictures, "pass": name}
            rows.append(row | {choice: gflop / seconds[choice] for choice in functions})
    return rows


def _choices() -> dict[str, tuple[Callable, Mapping[str, str]]]:
    plain = partial(
        jax.lax.conv_general_dilated, window_strides=(1, 1), padding="SAME", dimension_numbers=DIMENSIONS
    )
    options = oddn_jax.compiler_options()
    used = {"used": (convolve, options)}
    return {"YNNPACK": (plain, {}), "Eigen": (plain, options)} | used if options else used


def _pass(convolution: Callable, name: str) -> Callable:
    def run(x, kernel, gradient):
        if name == "forward":
            return convolution(x, kernel)
        of_x, of_kernel = jax.vjp(convolution, x, kernel)[1](gradient)
        return of_x if name == "input gradient" else of_kernel

    return run
