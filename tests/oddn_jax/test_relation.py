"""RelationModule: Eq. 10 to 13 written out, and which pairs there are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.fixture(scope="module")
def latents():
    return jax.random.normal(jax.random.key(20), (2, 4, 3, 6))


def test_relation_is_eq_10_to_13(tiny, latents):
    """Re-derived in NumPy, pair by pair."""
    model, variables = tiny
    p = jax.tree.map(np.asarray, variables["params"]["relation"])
    dynamics = np.asarray(jax.random.normal(jax.random.key(21), (3, 4)))
    objects = np.concatenate([dynamics, latents[0, 0]], -1)
    expected = dynamics.copy()
    for receiver in range(3):
        total = np.zeros(9)
        for sender in set(range(3)) - {receiver}:
            pair = np.concatenate([objects[receiver], objects[sender]])
            embedding = np.maximum(pair @ p["embedding"]["kernel"], 0)
            hidden = np.tanh(embedding @ p["attention_0"]["kernel"] + p["attention_0"]["bias"])
            attention = 1 / (1 + np.exp(-(hidden @ p["attention_1"]["kernel"] + p["attention_1"]["bias"])))
            total += attention * (embedding @ p["effect"]["kernel"] + p["effect"]["bias"])
        expected[receiver] += total @ p["update"]["kernel"] + p["update"]["bias"]
    interaction = model.apply(variables, jnp.array(dynamics), latents[0, 0], method="interact")
    np.testing.assert_allclose(interaction.updated_dynamics, expected, rtol=1e-4, atol=1e-5)


def test_a_single_slot_has_no_pairs(tiny, latents):
    model, variables = tiny
    dynamics = jnp.ones((2, 1, 4))
    interaction = model.apply(variables, dynamics, latents[:, 0, :1], method="interact")
    bias = variables["params"]["relation"]["update"]["bias"]
    np.testing.assert_allclose(interaction.updated_dynamics, dynamics + bias, rtol=1e-6)


def test_pair_attention_is_between_zero_and_one_and_never_on_itself(tiny, latents):
    model, variables = tiny
    attention = model.apply(variables, jnp.ones((2, 3, 4)), latents[:, 0], method="interact").pair_attention
    off_diagonal = attention[:, ~np.eye(3, dtype=bool)]
    assert (off_diagonal > 0).all() and (off_diagonal < 1).all()
    np.testing.assert_array_equal(attention[:, np.eye(3, dtype=bool)], 0)


def test_a_slots_own_pair_never_contributes(tiny, latents):
    """Changing the receiver's own diagonal effect cannot matter: the update's derivative by it is zero."""
    model, variables = tiny
    effect = model.apply(variables, jnp.ones((2, 3, 4)), latents[:, 0], method="interact").pair_effect
    np.testing.assert_array_equal(effect[:, np.eye(3, dtype=bool)], 0)
    assert jnp.abs(effect[:, ~np.eye(3, dtype=bool)]).min() > 0
