"""Likelihood and KL against SciPy; the closed-form gradients against jax.grad."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from oddn_jax.distributions import (
    Posterior,
    mixture_nll,
    mixture_nll_gradients,
    pixel_likelihoods,
    sample,
    slot_kl,
)

VARIANCE = 0.3


@pytest.fixture(scope="module")
def mixture():
    keys = jax.random.split(jax.random.key(0), 3)
    image = jax.random.uniform(keys[0], (2, 4, 5, 3))
    slot_rgb = jax.nn.sigmoid(2 * jax.random.normal(keys[1], (2, 3, 4, 5, 3)))
    slot_masks = jax.nn.softmax(jax.random.normal(keys[2], (2, 3, 4, 5, 1)), 1)
    return image, slot_rgb, slot_masks


def test_likelihood_is_scipys_up_to_the_normaliser(mixture):
    image, slot_rgb, slot_masks = map(np.asarray, mixture)
    densities = stats.norm(slot_rgb, np.sqrt(VARIANCE)).pdf(image[:, None])
    expected = -np.log((slot_masks * densities).sum(1)).sum((1, 2, 3))
    normaliser = 4 * 5 * 3 * 0.5 * np.log(2 * np.pi * VARIANCE)
    np.testing.assert_allclose(mixture_nll(*mixture, VARIANCE), expected - normaliser, rtol=1e-5)


def test_likelihood_is_bounded_for_any_colours():
    black, white = jnp.zeros((1, 1, 1, 3)), jnp.ones((1, 2, 1, 1, 3))
    assert pixel_likelihoods(black, white, VARIANCE).min() == pytest.approx(np.exp(-1 / 0.6))
    masks = jnp.full((1, 2, 1, 1, 1), 0.5)
    assert mixture_nll(black, white, masks, VARIANCE)[0] == pytest.approx(3 / 0.6, rel=1e-5)
    assert mixture_nll(black, jnp.zeros_like(white), masks, VARIANCE)[0] == 0


def test_kl_is_scipys_cross_entropy_less_entropy():
    mean, log_variance = jax.random.normal(jax.random.key(1), (2, 4, 3, 6))
    kl = slot_kl(Posterior(mean, log_variance))
    scale = np.exp(0.5 * np.asarray(log_variance))
    # E_q[-log N(0, 1)] - H(q)
    expected = (
        0.5 * np.log(2 * np.pi) + 0.5 * (np.asarray(mean) ** 2 + scale**2) - stats.norm(0, scale).entropy()
    )
    np.testing.assert_allclose(kl, expected.sum(-1), rtol=1e-5)


def test_kl_of_the_prior_is_zero():
    np.testing.assert_array_equal(slot_kl(Posterior(jnp.zeros((2, 3)), jnp.zeros((2, 3)))), 0)


def test_samples_have_the_posteriors_moments():
    posterior = Posterior(jnp.full((1, 1), 2.0), jnp.full((1, 1), np.log(9.0)))
    samples = sample(posterior, jax.random.normal(jax.random.key(2), (100_000, 1, 1)))
    assert samples.mean() == pytest.approx(2, abs=0.05)
    assert samples.std() == pytest.approx(3, rel=0.02)


def test_closed_form_gradients_equal_autodiff(mixture):
    image, slot_rgb, slot_masks = mixture
    likelihoods = pixel_likelihoods(image, slot_rgb, VARIANCE)
    closed = mixture_nll_gradients(image, slot_rgb, slot_masks, likelihoods, VARIANCE)
    automatic = jax.grad(lambda rgb, masks: mixture_nll(image, rgb, masks, VARIANCE).sum(), (0, 1))(
        slot_rgb, slot_masks
    )
    for ours, reference in zip(closed, automatic):
        np.testing.assert_allclose(ours, reference, rtol=1e-4, atol=1e-6)
