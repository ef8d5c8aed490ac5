"""Two training steps of a small reasoner on one device and on all of them, and prints how far they differ.

JAX_NUM_CPU_DEVICES=4 python -m tests.experiments.vqa_devices
"""

import jax
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.sharding import NamedSharding

from experiments.training.steps import REPLICATED
from experiments.vqa import steps
from experiments.vqa.batches import training_batches
from experiments.vqa.config import VQAConfig
from oddn_jax.reasoning import ALOEConfig
from tests.experiments.asked import EXAMPLE

SIZES = dict(
    feature_size=4, num_slots=2, num_frames=3, num_layers=2, num_heads=2, head_size=8, hidden_size=16
)
config = VQAConfig(model=ALOEConfig(**SIZES, dropout=0.2), frame_stride=2, batch_size=16)
videos = np.random.default_rng(0).normal(size=(2, 8, 2, 4)).astype("f4")
rows = (EXAMPLE.scene_index == 9).astype(int)
optimizer = optax.sgd(0.1)  # Adam would hide the gradient's scale
found = []
for number in (1, jax.device_count()):
    axis_types = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((number,), ("data",), axis_types=axis_types, devices=jax.devices()[:number])
    state = jax.device_put(steps.initial_state(config, optimizer), NamedSharding(mesh, REPLICATED))
    batches = training_batches(config, EXAMPLE, videos, rows, 0, mesh)
    train_step = steps.make_train_step(config, optimizer)
    for _ in range(2):
        batch = next(batches)
        state, _ = train_step(state, batch)
    assert all(len(part.words.sharding.device_set) == number for part in batch)
    found.append(np.asarray(ravel_pytree(jax.device_get(state.params))[0]))
start = np.asarray(ravel_pytree(jax.device_get(steps.initial_state(config, optimizer).params))[0])
print(jax.device_count(), np.linalg.norm(found[1] - found[0]) / np.linalg.norm(found[0] - start))
