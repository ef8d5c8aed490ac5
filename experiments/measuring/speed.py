"""How fast a model's functions run on this machine, beside the ceiling that the machine sets."""

import dataclasses
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import oddn_jax
from experiments.config import TrainConfig, make_model
from experiments.measuring.cost import count_flops
from experiments.runs.logs import say
from experiments.training import steps

try:
    import resource
except ModuleNotFoundError:  # Windows
    resource = None

NUM_PREDICTED = 6
FUNCTIONS = ("infer", "training step", "rollout")  # as far as a model has them


class Measured(NamedTuple):
    """One compiled function."""

    compile_seconds: float
    gflop: float
    bytes: int | None  # of its inputs, outputs and intermediate results, as the compiler plans them
    run: Callable[[], Any]


def measure_model(config: TrainConfig, repeats: int, names: Sequence[str] = FUNCTIONS) -> dict[str, Any]:
    """Inference, training step, rollout (or some of them), and the ceiling beside them.

    The rollout of a model that starts from slots is that alone; other models see their context first.

    Returns:
        `model`: by function, seconds, images a second, GFLOP, GFLOP/s, share of the ceiling, seconds to compile, bytes.
        `ceiling`: GFLOP/s of the convolution alone, by layout.
    """
    num_frames = config.curriculum[-1][1]
    functions = model_functions(config, names)
    layers = ceiling_functions(config)
    seconds = interleave({name: one.run for name, one in (functions | layers).items()}, repeats)
    ceiling = {name: layers[name].gflop / seconds[name] for name in layers}
    images = {"infer": num_frames, "training step": num_frames, "rollout": NUM_PREDICTED}
    rows = {}
    for name, one in functions.items():
        rate = one.gflop / seconds[name]
        rows[name] = {
            "seconds": seconds[name],
            "images_per_second": config.batch_size * images[name] / seconds[name],
            "gflop": one.gflop,
            "gflop_per_second": rate,
            "share_of_ceiling": rate / max(ceiling.values()),
            "compile_seconds": one.compile_seconds,
            "bytes": one.bytes,
        }
    return {"model": rows, "ceiling": ceiling, "peak_bytes": peak_bytes()}


def model_functions(config: TrainConfig, names: Sequence[str] = FUNCTIONS) -> dict[str, Measured]:
    """The functions of a config's model by name, compiled for its batch, with random input at hand."""
    model, optimizer, mesh = make_model(config), steps.make_optimizer(config), steps.make_mesh()
    size = (config.model.image_height, config.model.image_width, 3)
    batch = {
        "video": np.random.default_rng(0).random(
            (config.batch_size, config.curriculum[-1][1], *size), np.float32
        ),
        "example_id": np.arange(config.batch_size),
    }
    video, example_id = steps.place(batch, mesh)
    # The state belongs to the training step, which consumes it and gives the next one.
    state = jax.jit(lambda: steps.initial_state(config, optimizer))()
    params = jax.tree.map(jnp.copy, state.params)
    keys = jax.random.split(jax.random.key(0), config.batch_size)

    def infer(params, video):
        return model.look(params, video, keys).reconstruction

    def rollout(params, latents):
        predicted = model.apply({"params": params}, latents, num_steps=NUM_PREDICTED, method="rollout")
        return predicted.decoded.reconstruction

    def predict(params, context):
        options = dict(num_predicted=NUM_PREDICTED, num_observed=context.shape[1])
        return model.look(params, context, keys, **options).predicted

    measured, options = {}, oddn_jax.compiler_options()
    if "infer" in names:
        measured["infer"] = compile_function(infer, params, video, options=options)
    if "training step" in names:
        step = steps.make_train_step(config, optimizer, mesh)
        measured["training step"] = compile_function(step, state, video, example_id, carries_state=True)
    if "rollout" in names and isinstance(model, oddn_jax.ODDN | oddn_jax.baselines.IODINELinear):
        latents = jnp.zeros((config.batch_size, 2, config.model.num_slots, config.model.latent_size))
        measured["rollout"] = compile_function(rollout, params, latents, options=options)
    elif "rollout" in names and jax.eval_shape(predict, params, video[:, :2]) is not None:
        measured["rollout"] = compile_function(predict, params, video[:, :2], options=options)
    return measured


def ceiling_functions(config: TrainConfig) -> dict[str, Measured]:
    """A 3x3 convolution as the decoder of slots has it, forward and both gradients, in two layouts."""
    model = config.model
    count = config.batch_size * config.curriculum[-1][1] * getattr(model, "num_slots", 1)
    height, width = model.image_height, model.image_width
    channels = getattr(model, "convolution_channels", 64)
    measured, options = {}, oddn_jax.compiler_options()
    for layout in ("NHWC", "NCHW"):
        sizes = dict(N=count, H=height, W=width, C=channels)
        x = jnp.ones([sizes[axis] for axis in layout], model.compute_dtype)
        kernel = jnp.ones((3, 3, channels, channels), model.compute_dtype)

        def both_ways(x, kernel, layout=layout):
            convolve = partial(
                jax.lax.conv_general_dilated,
                window_strides=(1, 1),
                padding="SAME",
                dimension_numbers=(layout, "HWIO", layout),
            )
            y, pull_back = jax.vjp(convolve, x, kernel)
            return y, pull_back(y)

        measured[layout] = compile_function(both_ways, x, kernel, options=options)
    return measured


def compile_function(
    function: Callable,
    *inputs: Any,
    carries_state: bool = False,
    options: Mapping[str, str] = MappingProxyType({}),
) -> Measured:
    """Compiles a function for its inputs, and runs it once.

    Args:
        function: compiled with `options`, unless it comes out of `jax.jit`.
        carries_state: the first input is consumed, and the first output takes its place in the next call.
    """
    gflop = count_flops(function, *inputs) / 1e9
    began = time.perf_counter()
    jitted = function if hasattr(function, "lower") else jax.jit(function, compiler_options=dict(options))
    compiled = jitted.lower(*inputs).compile()
    seconds = time.perf_counter() - began
    inputs = list(inputs)

    def run():
        outputs = jax.block_until_ready(compiled(*inputs))
        if carries_state:
            inputs[0] = outputs[0]

    run()
    plan = compiled.memory_analysis()
    planned = plan and plan.temp_size_in_bytes + plan.argument_size_in_bytes + plan.output_size_in_bytes
    return Measured(seconds, gflop, planned, run)


def interleave(functions: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """The median seconds of each function; they take turns, so that a busy moment of the machine meets all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, run in functions.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak_bytes() -> int | None:
    """The most memory so far: of the first accelerator, or of this process on the CPU; None where nobody knows."""
    stats = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"]
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure_growth(config: TrainConfig, repeats: int) -> dict[str, Any]:
    """How the time of a training step grows when one size doubles: the exponent, 1 being proportional."""
    num_frames = config.curriculum[-1][1]
    changed = {
        "once": {},
        "batch": {"batch_size": 2 * config.batch_size},
        "frames": {"num_frames": 2 * num_frames},
    }
    for name, option in (("slots", "num_slots"), ("refinement steps", "num_refinement_steps")):
        if hasattr(config.model, option):
            changed[name] = {option: 2 * getattr(config.model, option)}
    functions = {}
    for name, changes in changed.items():
        say(f"compiling a training step, {name}" + ("" if name == "once" else " doubled"))
        functions |= {name: model_functions(_resized(config, **changes), ["training step"])["training step"]}
    seconds = interleave({name: one.run for name, one in functions.items()}, repeats)
    return {
        name: {
            "exponent": math.log2(seconds[name] / seconds["once"]),
            "exponent_of_gflop": math.log2(functions[name].gflop / functions["once"].gflop),
            "seconds": seconds[name],
        }
        for name in changed
        if name != "once"
    } | {"once": {"seconds": seconds["once"]}}


def _resized(config: TrainConfig, batch_size: int | None = None, num_frames: int | None = None, **model: int):
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, **model),
        batch_size=batch_size or config.batch_size,
        curriculum=((1.0, num_frames or config.curriculum[-1][1]),),
    )
