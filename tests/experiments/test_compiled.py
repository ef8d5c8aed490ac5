"""Functions compiled with the options that suit the models."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import oddn_jax
from experiments.machine import compiled


@pytest.fixture(scope="module")
def model():
    return oddn_jax.ODDN(oddn_jax.ODDNConfig.preset("quickstart"))


def test_each_function_is_traced_once(model):
    traced = []

    @compiled.jit(static_argnums=(0, 2))
    def scaled(model, x, by):
        traced.append(by)
        return x * by + model.config.num_slots

    for by in (2, 3, 2, 3):
        np.testing.assert_array_equal(
            scaled(model, jnp.arange(3), by), np.arange(3) * by + model.config.num_slots
        )
    assert traced == [2, 3]


def test_the_options_reach_the_compiler(model, monkeypatch):
    @compiled.jit(static_argnums=0)
    def negative(model, x):
        return -x

    monkeypatch.setattr(oddn_jax, "compiler_options", lambda: {"no_such_option": 1})
    with pytest.raises(jax.errors.JaxRuntimeError, match="no_such_option"):
        negative(model, jnp.ones(3))
