"""Compares training on all devices with plain `jit`, written without devices in mind, and prints what it finds as JSON.

    JAX_NUM_CPU_DEVICES=4 python -m tests.experiments.device_agreement FILE.npz [HOST:PORT NUM_PROCESSES PROCESS_ID]

A program of its own because the devices are fixed when JAX starts. The raw gradient and the losses of five steps go to
FILE; the gradient is read from Adam's first average, because the step that Adam makes of it hides its scale.
"""

import json
import sys
from unittest import mock

import jax
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.sharding import NamedSharding

from experiments.machine import processes
from experiments.training import steps
from tests.experiments.tiny import get_config

if len(sys.argv) > 2:
    processes.join(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), heartbeat_timeout=60)
config = get_config()
mesh = steps.make_mesh()
optimizer = optax.adam(1e-2)
generator = np.random.default_rng(0)
rows = slice(jax.process_index(), None, jax.process_count())  # as the loaders share a batch
batches = [
    {
        "video": generator.random((4, 3, 16, 16, 3), dtype=np.float32)[rows],
        "example_id": np.array([5, 0, 2**33 + 1, 7 + number])[rows],
    }
    for number in range(5)
]
shapes = jax.eval_shape(lambda: steps.initial_state(config, optimizer).params)
params = jax.tree.map(lambda leaf: generator.normal(0, 0.1, leaf.shape).astype(leaf.dtype), shapes)


def plain_step():
    """The step for `jit` to share out by itself."""

    def step(state, video, example_id):
        value, gradients = jax.value_and_grad(loss)(state.params, state.step, video, example_id)
        return update(state, gradients), {"loss": value}

    return jax.jit(step, out_shardings=NamedSharding(mesh, steps.REPLICATED))


def pmean_inside():
    """A step that averages inside of what it differentiates."""

    def step(state, video, example_id):
        def mean_loss(params):
            return jax.lax.pmean(loss(params, state.step, video, example_id), "data")

        value, gradients = jax.value_and_grad(mean_loss)(state.params)
        return update(state, gradients), {"loss": value}

    return jax.jit(steps._on_devices(step, mesh))


def loss(params, step, video, example_id):
    key = jax.random.fold_in(jax.random.split(jax.random.key(config.seed))[1], step)
    return steps.compute_losses(config, params, video, key, example_id)["loss"]


def update(state, gradients):
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    return steps.TrainState(state.step + 1, optax.apply_updates(state.params, updates), opt_state)


def follow(step):
    """The raw gradient of the first step, the losses of all, and the compiled code."""
    state = steps.TrainState(np.zeros((), np.int32), params, optimizer.init(params))
    state = jax.device_put(state, NamedSharding(mesh, steps.REPLICATED))
    compiled = step.lower(state, *steps.place(batches[0], mesh)).compile()
    gradient, losses = None, []
    for batch in batches:
        state, metrics = compiled(state, *steps.place(batch, mesh))
        losses.append(float(metrics["loss"]))
        if gradient is None:
            average = jax.device_get(state.opt_state[0].mu)
            gradient = np.asarray(ravel_pytree(average)[0], np.float64) / (1 - 0.9)
    return gradient, losses, compiled.as_text()


def relative_error(gradient):
    return float(np.linalg.norm(gradient - expected) / np.linalg.norm(expected))


expected, expected_losses, _ = follow(plain_step())
gradient, losses, text = follow(steps.make_train_step(config, optimizer, mesh))
found = {
    "devices": mesh.size,
    "gradient_norm": float(np.linalg.norm(expected)),
    "relative_error": relative_error(gradient),
    "losses": [losses, expected_losses],
    "all_reduces": text.count(" all-reduce("),
}
if len(sys.argv) == 2 and mesh.size > 1:  # what the comparison says of the two mistakes it is there for
    found["pmean_inside"] = relative_error(follow(pmean_inside())[0])
    mapped = jax.shard_map
    with mock.patch.object(jax, "shard_map", lambda *a, check_vma, **options: mapped(*a, **options)):
        try:
            found["check_vma"] = relative_error(follow(steps.make_train_step(config, optimizer, mesh))[0])
        except Exception as error:
            found["check_vma"] = str(error)
if jax.process_index() == 0:
    np.savez(sys.argv[1], gradient=gradient, losses=losses)
    print(json.dumps(found))
processes.leave(failed=False)
