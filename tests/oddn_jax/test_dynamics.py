"""DynamicsDistiller: Eq. 7 to 9 written out, and what dynamics depend on."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oddn_jax import ODDN
from oddn_jax.dynamics import MOST


@pytest.fixture(scope="module")
def latents():
    return jax.random.normal(jax.random.key(20), (2, 4, 3, 6))


def test_permuting_the_previous_frames_slots_changes_no_dynamics(tiny, latents):
    model, variables = tiny
    a = model.apply(variables, latents[:, :2], method="distill").dynamics
    b = model.apply(variables, latents.at[:, 0].set(latents[:, 0, ::-1])[:, :2], method="distill").dynamics
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_dynamics_depend_on_exactly_two_frames(tiny, latents):
    model, variables = tiny
    distill = jax.jit(lambda x: model.apply(variables, x, method="distill").dynamics[0])
    jacobian = jax.jit(jax.jacobian(distill))(latents[:1])
    depends = np.abs(jacobian[:, :, :, 0]).max((1, 2, 4, 5)) > 0  # [dynamics' frame, input frame]
    np.testing.assert_array_equal(depends, [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]])


def test_distillation_is_eq_7_to_9(tiny, latents):
    """Re-derived in NumPy for one slot."""
    model, variables = tiny
    p = jax.tree.map(np.asarray, variables["params"]["distiller"])
    previous, current = np.asarray(latents[0, 0]), np.asarray(latents[0, 1])
    tokens = np.concatenate([previous, current])
    query, keys, values = (
        current[1] @ p["query"]["kernel"],
        tokens @ p["key"]["kernel"],
        tokens @ p["value"]["kernel"],
    )
    scores = np.exp(keys @ query / np.sqrt(6))
    weights = scores / scores.sum()
    x = weights @ values + current[1]
    x = (x - x.mean()) / np.sqrt(x.var() + 1e-5) * p["norm"]["scale"] + p["norm"]["bias"]
    hidden = np.maximum(x @ p["ffn_0"]["kernel"] + p["ffn_0"]["bias"], 0)
    expected = hidden @ p["ffn_1"]["kernel"] + p["ffn_1"]["bias"]
    distilled = model.apply(variables, latents, method="distill")
    np.testing.assert_allclose(distilled.dynamics[0, 0, 1], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(distilled.match_attention[0, 0, 1], weights, rtol=1e-4)


@pytest.mark.parametrize("attend_current", [True, False])
def test_a_distiller_that_starts_with_matching_finds_every_slot_again(tiny_config, attend_current):
    config = dataclasses.replace(tiny_config, distiller_init="match", attend_current=attend_current)
    model = ODDN(config)
    variables = {"params": model.initialize(jax.random.key(0))}
    slots = 2 * jnp.eye(3, 6)  # three that differ
    order = jnp.array([2, 0, 1])
    moved = slots[order] + 0.1
    match = model.apply(variables, jnp.stack([slots, moved])[None], method="distill").match_attention[0, 0]
    np.testing.assert_array_equal(match[:, :3].argmax(-1), order)
    if attend_current:  # half of the attention is on the slot itself
        np.testing.assert_array_equal(match[:, 3:].argmax(-1), [0, 1, 2])
    else:
        assert match[:, :3].max(-1).min() > 0.95
    kernel = variables["params"]["distiller"]["value"]["kernel"]
    np.testing.assert_allclose(moved @ kernel, -MOST * moved, rtol=1e-6)
