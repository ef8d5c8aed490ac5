"""Metrics against scikit-learn, scikit-image and SciPy, and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.metrics import adjusted_rand_score

from oddn_jax import metrics
from oddn_jax.distributions import slot_kl


def random_segmentations(number, height, width, seed=0):
    """Truth with labels 0 to 4, and predictions with labels 0 to 6 that range from equal to independent."""
    random = np.random.default_rng(seed)
    shape = (number, height, width)
    truth = random.integers(0, random.integers(1, 6, (number, 1, 1)), shape)
    keep = random.random(shape) < random.random((number, 1, 1))
    # Some of them coarser or finer than the truth.
    return truth, np.where(keep, truth, random.integers(0, random.integers(1, 8, (number, 1, 1)), shape))


def test_ari_is_scikit_learns_on_1000_random_partitions():
    truth, prediction = random_segmentations(1000, 8, 9)
    prediction[:20] = (truth[:20] + 1) % 7
    scores = jax.jit(metrics.ari, static_argnums=2)(truth, prediction, 7)
    expected = [adjusted_rand_score(t.ravel(), p.ravel()) for t, p in zip(truth, prediction)]
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert np.ptp(expected) > 0.9
    foreground = metrics.ari(jnp.array(truth), jnp.array(prediction), 7, foreground_only=True)
    expected = [adjusted_rand_score(t[t > 0], p[t > 0]) for t, p in zip(truth, prediction)]
    np.testing.assert_allclose(foreground, expected, atol=1e-5)
    assert min(len(t[t > 0]) for t in truth) == 0


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
    truth, prediction = np.array(truth), np.array(prediction)
    # Also as large as the paper's reasoning frames, where pairs of pixels are more than float32 counts one by one.
    for repeats in ((1, 1), (32, 48)):
        t, p = np.tile(truth, repeats), np.tile(prediction, repeats)
        expected = adjusted_rand_score(t.ravel(), p.ravel())
        assert metrics.ari(jnp.array(t), jnp.array(p), 4) == pytest.approx(expected, abs=1e-6)
        foreground = adjusted_rand_score(t[t > 0], p[t > 0])
        assert metrics.ari(jnp.array(t), jnp.array(p), 4, foreground_only=True) == pytest.approx(
            foreground, abs=1e-6
        )


def test_foreground_ari_ignores_the_background_and_counts_an_empty_foreground_as_one():
    truth = jnp.array([[0, 0, 1], [0, 2, 2]])
    prediction = jnp.array([[1, 2, 0], [0, 1, 1]])
    assert metrics.ari(truth, prediction, 3, foreground_only=True) == 1
    assert metrics.ari(truth, prediction, 3) < 1
    assert metrics.ari(jnp.zeros((2, 2), int), jnp.eye(2, dtype=int), 3, foreground_only=True) == 1


def test_mse_of_each_frame_of_a_clip_by_hand():
    clip = jnp.zeros((2, 2, 2, 3)).at[1, 0, 0, 0].set(1.0)
    np.testing.assert_allclose(metrics.mse(clip, jnp.zeros_like(clip)), [0, 1 / 12])
    np.testing.assert_allclose(
        metrics.psnr(clip, jnp.zeros_like(clip)), [np.inf, 10 * np.log10(12)], rtol=1e-6
    )


def pictures():
    """Pairs of pictures f32[2 n h w 3]: noise, smooth, nearly equal, flat, black and white, equal."""
    random = np.random.default_rng(0)
    noise = random.random((3, 16, 24, 3))
    ramp = np.broadcast_to(np.linspace(0, 1, 24)[:, None], (16, 24, 3))
    slight = np.clip(ramp + 0.003 * random.standard_normal(ramp.shape), 0, 1)
    flat, black, white = (np.full(ramp.shape, value) for value in (0.5, 0.0, 1.0))
    first = [noise[0], ramp, ramp, noise[1], flat, black, black, noise[2], flat]
    second = [noise[1], noise[2], slight, ramp, noise[0], white, black, noise[2], white]
    return np.stack([first, second]).astype(np.float32)


def test_ssim_and_psnr_are_scikit_images():
    prediction, target = pictures()
    options = dict(
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, channel_axis=-1
    )
    expected = [
        structural_similarity(t.astype(float), p.astype(float), **options) for p, t in zip(prediction, target)
    ]
    np.testing.assert_allclose(jax.jit(metrics.ssim)(prediction, target), expected, atol=2e-5)
    assert np.ptp(expected) > 0.99
    with np.errstate(divide="ignore"):  # equal pictures
        expected = [peak_signal_noise_ratio(t, p, data_range=1) for p, t in zip(prediction, target)]
    np.testing.assert_allclose(jax.jit(metrics.psnr)(prediction, target), expected, rtol=1e-5)
    assert np.isinf(expected).sum() == 2


def test_ssim_needs_a_window():
    with pytest.raises(ValueError, match="at least 11 x 11 pixels, not 10 x 24"):
        metrics.ssim(jnp.zeros((10, 24, 3)), jnp.zeros((10, 24, 3)))


def test_miou_is_that_of_the_best_matching():
    truth, prediction = random_segmentations(60, 8, 9, seed=1)
    expected = []
    for t, p in zip(truth, prediction):
        labels = [label for label in np.unique(t) if label > 0]
        ious = np.array([[((t == i) & (p == j)).sum() / ((t == i) | (p == j)).sum() if (p == j).any() else 0
                          for j in range(7)] for i in labels])  # fmt: skip
        expected.append(ious[linear_sum_assignment(-ious)].mean() if labels else 1)
    np.testing.assert_allclose(
        jax.jit(metrics.miou, static_argnums=2)(truth, prediction, 7), expected, atol=1e-5
    )
    assert 1 in expected and min(expected) < 0.2


def test_the_best_matching_may_not_be_greedy():
    scores = jnp.array([[0.9, 0.8], [0.8, 0.1]])
    assert metrics.best_matching(scores) == pytest.approx(1.6)
    random = np.random.default_rng(0).random((20, 6, 4))  # more objects than slots
    expected = [s[linear_sum_assignment(-s)].sum() for s in random]
    np.testing.assert_allclose(metrics.best_matching(jnp.array(random)), expected, rtol=1e-5)


def test_miou_by_hand():
    truth = jnp.array([[0, 0, 1], [0, 2, 2]])
    assert metrics.miou(truth, truth, 3) == 1
    assert metrics.miou(truth, (truth + 1) % 3, 3) == 1  # however slots are numbered
    one_slot = jnp.zeros_like(truth)
    assert metrics.miou(truth, one_slot, 3) == pytest.approx(2 / 6 / 2)  # it serves one of the two objects
    assert metrics.miou(one_slot, truth, 3) == 1  # no object
    with pytest.raises(ValueError, match="up to 16 labels, not 17"):
        metrics.miou(truth, truth, 17)


def test_iou_within_the_foreground_by_hand():
    truth = jnp.array([[0, 0, 1], [0, 2, 2]])
    slots = jnp.array([[1, 1, 1], [0, 1, 2]])  # slot 1: object 1, half of object 2, and background
    assert metrics.iou(truth, slots, 3)[1, 1] == pytest.approx(1 / 4)
    inside = metrics.iou(truth, slots, 3, foreground_only=True)
    np.testing.assert_allclose(inside, [[0, 0, 0], [0, 1 / 2, 0], [0, 1 / 3, 1 / 2]], atol=1e-6)


def test_slot_usage_and_mask_entropy():
    shared = jnp.full((4, 2, 2, 1), 0.25)
    assert metrics.mask_entropy(shared) == pytest.approx(1)
    decided = jax.nn.one_hot(jnp.array([[0, 1], [1, 1]]), 4, axis=0)[..., None]
    assert metrics.mask_entropy(decided) == 0
    assert metrics.slot_usage(decided) == 2


def test_diagnostics_by_hand(outputs, video):
    inference = outputs.inference
    found = metrics.training_diagnostics(
        video, inference.decoded.reconstruction, inference.decoded.slot_masks, slot_kl(inference.posterior)
    )
    assert found["mse_copy_last"] == pytest.approx(
        float(((video[:, 2:] - video[:, 1:-1]) ** 2).mean()), rel=1e-5
    )
    mean, log_variance = (np.asarray(field, np.float64) for field in outputs.inference.posterior)
    kl = 0.5 * (np.exp(log_variance) + mean**2 - 1 - log_variance).sum(-1)
    ranked = np.sort(kl, -1)[..., ::-1].mean((0, 1))
    np.testing.assert_allclose([found[f"slot_kl_{rank}"] for rank in (1, 2, 3)], ranked, rtol=1e-4)
    assert ranked[0] > ranked[2] and "slot_kl_4" not in found
    assert 1 <= found["slot_usage"] <= 3
