"""Metrics against scikit-learn and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from oddn_jax import metrics


def test_ari_is_scikit_learns_on_random_partitions():
    random = np.random.default_rng(0)
    truth = random.integers(0, 5, (200, 8, 9))
    # From equal to independent, some of them coarser or finer than the truth.
    keep = random.random((200, 8, 9)) < random.random((200, 1, 1))
    prediction = np.where(
        keep, truth[:, ::1], random.integers(0, random.integers(1, 7, (200, 1, 1)), (200, 8, 9))
    )
    scores = metrics.ari(jnp.array(truth), jnp.array(prediction), 7)
    expected = [adjusted_rand_score(t.ravel(), p.ravel()) for t, p in zip(truth, prediction)]
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    foreground = metrics.ari(jnp.array(truth), jnp.array(prediction), 7, foreground_only=True)
    expected = [adjusted_rand_score(t[t > 0], p[t > 0]) for t, p in zip(truth, prediction)]
    np.testing.assert_allclose(foreground, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("truth", "prediction"),
    [
        ([[1, 1], [1, 1]], [[0, 0], [0, 0]]),  # one cluster on both sides
        ([[0, 1], [2, 3]], [[3, 2], [1, 0]]),  # only singletons
        ([[0, 0], [0, 0]], [[0, 1], [2, 3]]),  # one cluster, split
        ([[0, 1], [2, 3]], [[1, 1], [1, 1]]),  # singletons, merged
        ([[0, 0], [1, 1]], [[2, 2], [3, 3]]),  # the same partition, other names
    ],
)
def test_degenerate_partitions_are_scikit_learns(truth, prediction):
    expected = adjusted_rand_score(np.ravel(truth), np.ravel(prediction))
    assert metrics.ari(jnp.array(truth), jnp.array(prediction), 4) == pytest.approx(expected, abs=1e-6)


def test_foreground_ari_ignores_the_background_and_counts_an_empty_foreground_as_one():
    truth = jnp.array([[0, 0, 1], [0, 2, 2]])
    prediction = jnp.array([[1, 2, 0], [0, 1, 1]])
    assert metrics.ari(truth, prediction, 3, foreground_only=True) == 1
    assert metrics.ari(truth, prediction, 3) < 1
    assert metrics.ari(jnp.zeros((2, 2), int), jnp.eye(2, dtype=int), 3, foreground_only=True) == 1


def test_mse_by_hand():
    a = jnp.zeros((2, 2, 2, 3)).at[1, 0, 0, 0].set(1.0)
    np.testing.assert_allclose(metrics.mse(a, jnp.zeros_like(a)), [0, 1 / 12])


def test_slot_usage_and_mask_entropy():
    shared = jnp.full((4, 2, 2, 1), 0.25)
    assert metrics.mask_entropy(shared) == pytest.approx(1)
    decided = jax.nn.one_hot(jnp.array([[0, 1], [1, 1]]), 4, axis=0)[..., None]
    assert metrics.mask_entropy(decided) == 0
    assert metrics.slot_usage(decided) == 2


def test_diagnostics_by_hand(outputs, video):
    found = metrics.training_diagnostics(outputs, video)
    assert found["mse_copy_last"] == pytest.approx(
        float(((video[:, 2:] - video[:, 1:-1]) ** 2).mean()), rel=1e-5
    )
    mean, log_variance = (np.asarray(field, np.float64) for field in outputs.inference.posterior)
    kl = 0.5 * (np.exp(log_variance) + mean**2 - 1 - log_variance).sum(-1)
    ranked = np.sort(kl, -1)[..., ::-1].mean((0, 1))
    np.testing.assert_allclose([found[f"slot_kl_{rank}"] for rank in (1, 2, 3)], ranked, rtol=1e-4)
    assert ranked[0] > ranked[2] and "slot_kl_4" not in found
    assert 1 <= found["slot_usage"] <= 3
