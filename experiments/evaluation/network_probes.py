"""Probes of two hidden layers: what a small network reads off the numbers of a slot, fitted with labels."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from oddn_jax import compiler_options
from oddn_jax.reasoning.aloe import SlotReader

# Source: our choice; eleven seconds on one core.
HIDDEN_SIZE = 128
NUM_STEPS = 3_000  # at most, and 300 at least
NUM_PASSES = 70  # over the samples at most: few of them would be learned by heart
BATCH = 1_024  # samples of a step
LEARNING_RATE = 2e-3  # of Adam, which falls as a cosine does


class NetworkProbe(NamedTuple):
    """Two hidden layers, or none, and a linear map: f32[*b i] to f32[*b o]."""

    hidden: dict[str, Any] | None  # parameters of `SlotReader`
    kernel: np.ndarray  # f32[h o]
    bias: np.ndarray  # f32[o]

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """The outputs."""
        if self.hidden:
            size = len(self.hidden["second"]["bias"])
            inputs = np.asarray(SlotReader(size).apply({"params": self.hidden}, jnp.asarray(inputs)))
        return inputs @ self.kernel + self.bias


def fit_network(inputs: np.ndarray, outputs: np.ndarray, hidden_size: int = HIDDEN_SIZE) -> NetworkProbe:
    """The network f[s i] to f[s o] with the least mean squared error over the known outputs; from seed 0.

    Args:
        inputs: of unit scale.
        outputs: likewise; NaN where one is not known.
    """
    arrays = (np.asarray(values, np.float32) for values in (inputs, outputs))
    num_steps = min(NUM_STEPS, max(300, NUM_PASSES * len(inputs) // BATCH))
    return jax.device_get(_fit(*arrays, hidden_size, num_steps))


@functools.partial(jax.jit, static_argnums=(2, 3), compiler_options=compiler_options())
def _fit(inputs: jax.Array, outputs: jax.Array, hidden_size: int, num_steps: int) -> NetworkProbe:
    reader, last = SlotReader(hidden_size), nn.Dense(outputs.shape[-1])
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, num_steps))
    keys = jax.random.split(jax.random.key(0), 3)
    params = reader.init(keys[0], inputs[:1]), last.init(keys[1], jnp.zeros((1, hidden_size)))

    def loss(params, inputs, outputs):
        error = last.apply(params[1], reader.apply(params[0], inputs)) - outputs
        return (jnp.where(jnp.isfinite(outputs), error, 0) ** 2).mean()

    def step(carry, key):
        params, state = carry
        taken = jax.random.randint(key, (BATCH,), 0, len(inputs))
        updates, state = optimizer.update(jax.grad(loss)(params, inputs[taken], outputs[taken]), state)
        return (optax.apply_updates(params, updates), state), None

    start = params, optimizer.init(params)
    (params, _), _ = jax.lax.scan(step, start, jax.random.split(keys[2], num_steps))
    hidden, linear = (of["params"] for of in params)
    return NetworkProbe(hidden, linear["kernel"], linear["bias"])
