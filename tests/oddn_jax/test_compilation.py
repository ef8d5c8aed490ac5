"""What XLA is told, and that it does what it is told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import oddn_jax
from oddn_jax import compilation
from oddn_jax.convolution import convolve


@pytest.fixture
def on_cpu(monkeypatch):
    if jax.default_backend() != "cpu":
        pytest.skip("the options are for the CPU")
    monkeypatch.setenv("XLA_FLAGS", "")


def test_convolutions_leave_ynnpack_and_stay_what_they_are(on_cpu):
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(2, 16, 16, 64)), jnp.float32)
    kernel = jnp.asarray(random.normal(size=(3, 3, 64, 64)), jnp.float32)
    ours, xlas = (
        jax.jit(convolve, compiler_options=options).lower(x, kernel).compile()
        for options in (oddn_jax.compiler_options(), {})
    )
    assert "ynn_fusion" in xlas.as_text() and "ynn_fusion" not in ours.as_text()
    np.testing.assert_allclose(ours(x, kernel), xlas(x, kernel), rtol=1e-4, atol=1e-3)


def test_products_stay_with_ynnpack(on_cpu):
    options = oddn_jax.compiler_options()
    compiled = jax.jit(jnp.matmul, compiler_options=options).lower(*2 * [jnp.ones((128, 128))]).compile()
    assert "ynn_fusion" in compiled.as_text()


def test_what_the_user_chooses_goes_first(on_cpu, monkeypatch):
    assert oddn_jax.compiler_options()
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_DOT")
    assert oddn_jax.compiler_options() == {}


def test_an_option_that_xla_does_not_know_is_left_out(on_cpu, monkeypatch):
    monkeypatch.setattr(compilation, "_OPTION", "xla_cpu_no_such_option")
    compilation._knows_the_option.cache_clear()
    try:
        assert oddn_jax.compiler_options() == {}
    finally:
        compilation._knows_the_option.cache_clear()
