"""With JAX_ENABLE_X64 a training computes in float32 what it computes without: parameters, state and metrics."""

import jax
import jax.numpy as jnp
import pytest

import oddn_jax
from experiments.training import steps
from experiments.vqa import steps as vqa_steps
from oddn_jax.layers import kernel_init
from tests.experiments import test_vqa_steps
from tests.experiments.tiny import get_config


def types(tree):
    return {str(leaf.dtype) for leaf in jax.tree.leaves(tree)}


@pytest.mark.parametrize("system", oddn_jax.MODELS)
def test_every_system_trains_in_float32(system):
    config = get_config(system)
    optimizer = steps.make_optimizer(config)
    with jax.enable_x64(True):
        step = steps.make_train_step(config, optimizer, steps.make_mesh())
        state = jax.eval_shape(lambda: steps.initial_state(config, optimizer))
        video = jax.ShapeDtypeStruct((4, 3, 16, 16, 3), jnp.float32)
        after, metrics = jax.eval_shape(step, state, video, jax.ShapeDtypeStruct((4,), jnp.uint32))
    assert types(state) == {"float32", "int32"} and types(metrics) == {"float32"}
    assert jax.tree.map(lambda x, y: x.dtype == y.dtype, state, after) == jax.tree.map(lambda x: True, state)


@pytest.mark.parametrize("form", ["absolute", "relative"])
def test_a_reasoner_likewise(form):
    config = test_vqa_steps.make_config()
    config.model.form, config.model.word_size, config.model.predict_hidden_slots = form, 2, True
    optimizer = vqa_steps.make_optimizer(config)
    with jax.enable_x64(True):
        batch = test_vqa_steps.make_batch(config)
        state = jax.eval_shape(lambda: vqa_steps.initial_state(config, optimizer))
        after, metrics = jax.eval_shape(vqa_steps.make_train_step(config, optimizer), state, batch)
    assert types(state) == types(after) == {"float32", "int32"} and types(metrics) == {"float32"}


def test_kernels_are_drawn_alike_with_and_without():
    """Else a checkpoint of the one could not be resumed in the other."""
    draw = [kernel_init(2.0)(jax.random.key(0), (3, 3, 2, 4))]
    with jax.enable_x64(True):
        draw.append(kernel_init(2.0)(jax.random.key(0), (3, 3, 2, 4)))
    assert draw[0].dtype == draw[1].dtype == jnp.float32 and (draw[0] == draw[1]).all()
