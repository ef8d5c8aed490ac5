"""Prints, as JSON, how the training step on 4 devices compares with the plain gradient on one.

A program of its own because the number of devices is fixed when JAX starts. With SGD at rate 1 the parameters move by
the raw gradient, which Adam and the clip of its norm would hide.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, NamedSharding

from experiments import steps
from tests.experiments.tiny import get_config

jax.config.update("jax_num_cpu_devices", 4)
config = get_config()
optimizer = optax.sgd(1.0)
generator = np.random.default_rng(0)
batch = {
    "video": generator.random((4, 3, 16, 16, 3), dtype=np.float32),
    "example_id": np.array([5, 0, 2**33 + 1, 7]),
}
shapes = jax.eval_shape(lambda: steps.initial_state(config, optimizer).params)
params = jax.tree.map(lambda leaf: generator.normal(0, 0.1, leaf.shape).astype(leaf.dtype), shapes)


def run(step, mesh):
    """The gradient, the loss and the compiled step on the devices of a mesh."""
    state = steps.TrainState(np.zeros((), np.int32), params, optimizer.init(params))
    arguments = (jax.device_put(state, NamedSharding(mesh, steps.REPLICATED)), *steps.place(batch, mesh))
    compiled = step.lower(*arguments).compile()
    after, metrics = compiled(*arguments)
    gradient = ravel_pytree(jax.tree.map(np.subtract, params, jax.device_get(after.params)))[0]
    return np.asarray(gradient, np.float64), float(metrics["loss"]), compiled.as_text()


@jax.jit
def whole_batch(state, video, example_id):
    """The same step, written without devices in mind."""
    key = jax.random.fold_in(jax.random.split(jax.random.key(config.seed))[1], state.step)

    def loss(params):
        return steps.compute_losses(config, params, video, key, example_id)["loss"]

    value, gradient = jax.value_and_grad(loss)(state.params)
    return steps.TrainState(state.step, jax.tree.map(jnp.subtract, state.params, gradient), ()), {
        "loss": value
    }


one = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
four = steps.make_mesh()
gradient_whole, loss_whole, _ = run(whole_batch, one)
gradient_four, loss_four, text = run(steps.make_train_step(config, optimizer, four), four)
found = {
    "devices": four.size,
    "gradient_norm": np.linalg.norm(gradient_whole),
    "relative_error": np.linalg.norm(gradient_four - gradient_whole) / np.linalg.norm(gradient_whole),
    "losses": [loss_four, loss_whole],
    "all_reduces": text.count(" all-reduce("),
}
print(json.dumps(found))
