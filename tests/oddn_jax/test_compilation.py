"""What XLA is told, and that it does what it is told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import oddn_jax
from oddn_jax import compilation
from oddn_jax.layers import convolve

WIDE, NARROW = (oddn_jax.ODDNConfig(convolution_channels=channels) for channels in (64, 16))


@pytest.fixture
def on_cpu(monkeypatch):
    if jax.default_backend() != "cpu":
        pytest.skip("the options are for the CPU")
    monkeypatch.setenv("XLA_FLAGS", "")


def test_wide_convolutions_leave_ynnpack_and_stay_what_they_are(on_cpu):
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(2, 16, 16, 64)), jnp.float32)
    kernel = jnp.asarray(random.normal(size=(3, 3, 64, 64)), jnp.float32)

    compiled = {
        name: jax.jit(convolve, compiler_options=oddn_jax.compiler_options(config)).lower(x, kernel).compile()
        for name, config in (("wide", WIDE), ("narrow", NARROW))
    }
    assert "ynn_fusion" in compiled["narrow"].as_text() and "ynn_fusion" not in compiled["wide"].as_text()
    np.testing.assert_allclose(
        compiled["wide"](x, kernel), compiled["narrow"](x, kernel), rtol=1e-4, atol=1e-3
    )


def test_what_the_user_chooses_goes_first(on_cpu, monkeypatch):
    assert oddn_jax.compiler_options(WIDE) and not oddn_jax.compiler_options(NARROW)
    assert oddn_jax.compiler_options(object())  # a stranger's model
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_DOT")
    assert oddn_jax.compiler_options(WIDE) == {}


def test_an_option_that_xla_does_not_know_is_left_out(on_cpu, monkeypatch):
    monkeypatch.setattr(compilation, "_OPTION", "xla_cpu_no_such_option")
    compilation._knows_the_option.cache_clear()
    try:
        assert oddn_jax.compiler_options(WIDE) == {}
    finally:
        compilation._knows_the_option.cache_clear()
