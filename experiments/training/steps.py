"""What one step of training and of validation computes, on any number of devices."""

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import oddn_jax
from experiments.config import TrainConfig, make_model
from oddn_jax.layers import average_pixels

WATCHED = ("loss", "gradient_norm", "update_norm")  # of the metrics of a step, those that must be finite
REPLICATED, SHARDED = PartitionSpec(), PartitionSpec("data")


class TrainState(NamedTuple):
    """Everything that a step changes."""

    step: jax.Array  # i32 scalar, steps done
    params: Any
    opt_state: Any


def make_mesh() -> Mesh:
    """All devices of all processes along one axis, "data"."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """Adam, or RMSprop, behind a clip of the gradient's global norm."""
    rate, num_steps = config.learning_rate, max(1, config.num_steps - config.warmup_steps)
    after = {
        "constant": optax.constant_schedule(rate),
        "cosine": optax.cosine_decay_schedule(rate, num_steps),
        "linear_end": optax.linear_schedule(rate, 0.0, num_steps - num_steps * 2 // 3, num_steps * 2 // 3),
    }
    warmup = optax.linear_schedule(0.0, rate, config.warmup_steps)
    schedule = optax.join_schedules([warmup, after[config.schedule]], [config.warmup_steps])
    # RMSprop as PyTorch's: averages over a hundred steps.
    descent = optax.adam(schedule) if config.optimizer == "adam" else optax.rmsprop(schedule, decay=0.99)
    clip = optax.clip_by_global_norm(config.gradient_clip) if config.gradient_clip else optax.identity()
    return optax.chain(clip, descent)


def initial_state(config: TrainConfig, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step, from `config.seed`."""
    key, _ = jax.random.split(jax.random.key(config.seed))
    params = make_model(config).initialize(key)
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))


def step_or_skip(metrics: Mapping[str, jax.Array], new: TrainState, old: TrainState) -> TrainState:
    """The state after a step: where its loss, gradient or update is not finite, only the number of steps has changed.

    Source: our choice. One clip of tens of thousands can do that (measured, on a card); a run that stopped for it
    would stop there again.
    """
    whole = functools.reduce(jnp.logical_and, (jnp.isfinite(metrics[name]) for name in WATCHED))
    return jax.tree.map(lambda new, old: jnp.where(whole, new, old), new, old._replace(step=new.step))


def check_groups(option: str, groups: Collection[str], params: Mapping[str, Any]) -> None:
    """Raises ValueError, in one line, if an option names groups of parameters that there are none of."""
    if unknown := set(groups) - set(params):
        known = ", ".join(sorted(params))
        raise ValueError(f"config.{option}: no parameters {', '.join(sorted(unknown))}; there are {known}")


def clip_keys(key: jax.Array, example_id: jax.Array) -> jax.Array:
    """A key for each clip, which hangs on `key` and its own id alone: the same on any number of devices."""
    return jax.vmap(functools.partial(jax.random.fold_in, key))(example_id)


def compute_losses(
    config: TrainConfig, params: Any, video: jax.Array, key: jax.Array, example_id: jax.Array
) -> dict[str, jax.Array]:
    """The loss and what is logged beside it, means over the batch, by name, without training on it."""
    return make_model(config).loss(params, video, clip_keys(key, example_id), train=False)[0]


def make_train_step(
    config: TrainConfig, optimizer: optax.GradientTransformation, mesh: Mesh, coarseness: int = 1
) -> Callable:
    """One step of training, `(state, video, example_id) -> (state, metrics)`; it consumes the state it is given.

    Parameters and video are always those of the whole picture; with a coarseness the model sees it averaged.

    Every device differentiates the loss of its own clips; then gradients and metrics are averaged, in one all-reduce.
    `check_vma=False` gives this order its meaning. With JAX's default the gradient of a replicated value is silently
    summed over the devices: n times too large on n of them, measured, and so is the inner gradient of the inference.
    """

    model, coarsen = make_model(config), lambda params: params
    if coarseness > 1:
        model, coarsen = model.coarser(coarseness)

    def step(state, video, example_id):
        check_groups("frozen", config.frozen, state.params)
        _, key = jax.random.split(jax.random.key(config.seed))
        key = jax.random.fold_in(key, state.step)

        video = average_pixels(video, coarseness) if coarseness > 1 else video

        def loss(params):
            keys = clip_keys(key, example_id)
            params = params | {name: jax.lax.stop_gradient(params[name]) for name in config.frozen}
            metrics, collections = model.loss(coarsen(params), video, keys, axis_name="data")
            return metrics["loss"], (metrics, collections)

        gradients, (metrics, collections) = jax.grad(loss, has_aux=True)(state.params)
        flat, restore = ravel_pytree((gradients, metrics))
        gradients, metrics = restore(jax.lax.pmean(flat, "data"))
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        metrics |= {"gradient_norm": optax.tree.norm(gradients), "update_norm": optax.tree.norm(updates)}
        # The optimiser has left the collections alone: no gradient flows into them.
        params = {**optax.apply_updates(state.params, updates), **collections}
        return step_or_skip(metrics, TrainState(state.step + 1, params, opt_state), state), metrics

    return jax.jit(_on_devices(step, mesh), donate_argnums=0, compiler_options=oddn_jax.compiler_options())


def make_eval_step(config: TrainConfig, mesh: Mesh) -> Callable:
    """The metrics of one batch, `(params, video, example_id) -> metrics`.

    The noise is the same at every step and for every seed, so that validation bounds can be compared.
    """

    def step(params, video, example_id):
        return jax.lax.pmean(compute_losses(config, params, video, jax.random.key(0), example_id), "data")

    return jax.jit(_on_devices(step, mesh), compiler_options=oddn_jax.compiler_options())


def _on_devices(step: Callable, mesh: Mesh) -> Callable:
    in_specs = (REPLICATED, SHARDED, SHARDED)
    return jax.shard_map(step, mesh=mesh, in_specs=in_specs, out_specs=REPLICATED, check_vma=False)


def place(batch: Mapping[str, np.ndarray], mesh: Mesh) -> tuple[jax.Array, jax.Array]:
    """Puts the video and the example ids of this process's part of a batch on its devices."""
    to_devices = functools.partial(jax.make_array_from_process_local_data, NamedSharding(mesh, SHARDED))
    return to_devices(batch["video"]), to_devices(batch["example_id"].astype(np.uint32))
