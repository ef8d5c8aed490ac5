"""The objective, term by term."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oddn_jax.losses import oddn_losses, prediction_weights


def test_each_term_by_hand(outputs, tiny_config):
    losses = jax.tree.map(float, oddn_losses(outputs, tiny_config))
    nll, kl = np.asarray(outputs.inference.nll), np.asarray(outputs.inference.kl)
    weights = np.array([1, 2, 3]) / 3
    assert losses.reconstruction == pytest.approx(100 * (nll * weights).sum((1, 2)).mean(), rel=1e-5)
    assert losses.kl == pytest.approx((kl * weights).sum((1, 2)).mean(), rel=1e-5)
    # Targets 2, 3, 4 once from observed slots; 3 and 4 once more from predicted ones.
    predicted = np.asarray(outputs.prediction.nll) * [1, 0.5, 0.5, 0.5, 0.5]
    assert losses.prediction == pytest.approx(100 * predicted.sum(1).mean(), rel=1e-5)
    assert losses.total == pytest.approx(losses.reconstruction + losses.kl + losses.prediction, rel=1e-6)
    assert losses.terms["nll"] == pytest.approx(nll[..., -1].mean(), rel=1e-5)


def test_each_target_frame_counts_once():
    weights = prediction_weights(jnp.array([2, 3, 4, 3, 4, 4]), 5)
    np.testing.assert_allclose(weights, [1, 1 / 2, 1 / 3, 1 / 2, 1 / 3, 1 / 3])


@pytest.mark.parametrize(
    ("change", "term", "factor"),
    [
        ({"nll_weight": 50.0}, "reconstruction", 0.5),
        ({"nll_weight": 50.0}, "prediction", 0.5),
        ({"kl_weight": 3.0}, "kl", 3),
        ({"prediction_weight": 0.5}, "prediction", 0.5),
        ({"nll_weight_on_prediction": False}, "prediction", 0.01),
        ({"nll_weight_on_prediction": False}, "reconstruction", 1),
    ],
)
def test_each_weight_scales_its_term(outputs, tiny_config, change, term, factor):
    before = getattr(oddn_losses(outputs, tiny_config), term)
    after = getattr(oddn_losses(outputs, dataclasses.replace(tiny_config, **change)), term)
    np.testing.assert_allclose(after, factor * before, rtol=1e-5)
