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


FRAMES = np.random.default_rng(0).random((2, 3, 12, 12, 3), np.float32)
LABELS = np.random.default_rng(0).integers(0, 3, (2, 6, 6))
MASKS = (
    np.random.default_rng(0).dirichlet(np.ones(4), (2, 6, 6)).astype("f4").transpose(0, 3, 1, 2)[..., None]
)


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize("metric", [metrics.mse, metrics.psnr, metrics.ssim])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:1], "both must be .*, of the same shape"),  # would be broadcast
        (lambda x: x[..., :1], "both must be .*, of the same shape"),
        (lambda x: x[0, 0, 0], "both must be .*, of the same shape"),
        (
            lambda x: (255 * x).astype(np.uint8),
            r"(prediction|target) is uint8\[.* is wanted, with pixels in \[0, 1\]",
        ),
        (lambda x: x.astype(np.float16), "(prediction|target) is float16"),
        (lambda x: x[:0], "which is empty"),
        (lambda x: x.tolist(), "is a list, not an array"),
    ],
)
def test_frames_that_cannot_be_compared_are_refused(metric, change, message):
    for wrong in ((change(FRAMES), FRAMES), (FRAMES, change(FRAMES))):
        with pytest.raises(ValueError, match=message):
            metric(*wrong)


@pytest.mark.usefixtures("as_installed")
def test_frames_with_nan_have_no_score():
    broken = FRAMES.copy()
    broken[0, 1, 2, 3] = np.nan
    for metric in (metrics.mse, metrics.psnr, metrics.ssim):
        scores = np.asarray(metric(broken, FRAMES))
        assert np.isnan(scores[0, 1]) and not np.isnan(np.delete(scores.ravel(), 1)).any()


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize("metric", [metrics.contingency, metrics.ari, metrics.iou, metrics.miou])
@pytest.mark.parametrize(
    ("change", "num_labels", "message"),
    [
        (lambda x: x[:1], 3, "both must be .*, of the same shape"),
        (lambda x: x[0, 0], 3, "both must be .*, of the same shape"),
        (lambda x: x + 1, 3, "has labels 1 to 3, num_labels=3 allows 0 to 2"),
        (lambda x: x - 1, 3, "has labels -1 to 1, num_labels=3 allows 0 to 2"),
        (lambda x: x.astype(float), 3, "integer labels are wanted"),
        (lambda x: x > 0, 3, "integer labels are wanted"),
        (lambda x: x[:0], 3, "which is empty"),
        (lambda x: x, 0, "num_labels=0 must be an integer of at least 1"),
        (lambda x: x, 3.0, "num_labels=3.0 must be an integer of at least 1"),
    ],
)
def test_labels_that_cannot_be_compared_are_refused(metric, change, num_labels, message):
    for wrong in ((change(LABELS), LABELS), (LABELS, change(LABELS))):
        with pytest.raises(ValueError, match=message):
            metric(*wrong, num_labels)


@pytest.mark.parametrize("metric", [metrics.ari, metrics.miou])
@pytest.mark.parametrize("label", [-1, 3, 255])
def test_under_jit_a_label_out_of_range_gives_no_score(metric, label):
    wrong = jnp.array(LABELS).at[1, 0, 0].set(label)
    score = jax.jit(lambda truth, prediction: metric(truth, prediction, 3))
    right = score(LABELS, LABELS)
    for scores in (score(wrong, LABELS), score(LABELS, wrong)):
        np.testing.assert_array_equal(scores, [right[0], np.nan])
    without_objects = jax.jit(lambda prediction: metric(jnp.zeros_like(prediction), prediction, 3))
    assert np.isnan(without_objects(wrong)[1])


@pytest.mark.usefixtures("as_installed")
def test_one_pixel_and_one_label_have_a_score():
    pixel = np.zeros((1, 1), int)
    assert metrics.ari(pixel, pixel, 1) == metrics.ari(pixel, pixel, 1, foreground_only=True) == 1
    assert metrics.iou(pixel, pixel, 1) == 1
    frame = np.full((1, 1, 3), 0.5, np.float32)
    assert metrics.mse(frame, frame) == 0 and np.isposinf(metrics.psnr(frame, frame))
    with pytest.raises(ValueError, match="SSIM needs frames of at least 11 x 11 pixels, not 1 x 1"):
        metrics.ssim(frame, frame)
    with pytest.raises(ValueError, match="1 and up to 16 labels, not 0"):
        metrics.best_matching(np.zeros((2, 0), np.float32))


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize("metric", [metrics.slot_usage, metrics.mask_entropy])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: 2 * x, "sum to 1"),
        (lambda x: np.log(x), "at least 0 and sum to 1"),
        (lambda x: np.concatenate([2 * x, -x], -4), "at least 0"),
        (lambda x: np.where(x == x.max(), np.nan, x), "sum to 1"),
        (lambda x: x[..., 0], r"\[\*b k h w 1\] is wanted"),
        (lambda x: (x > 0.5).astype(int), "is int64"),
        (lambda x: x[:0], "which is empty"),
    ],
)
def test_what_are_no_masks_is_refused(metric, change, message):
    metric(MASKS)
    with pytest.raises(ValueError, match=message):
        metric(change(MASKS))


def test_pixels_whose_mask_is_nan_belong_to_no_slot():
    broken = MASKS.copy()
    broken[1, 2, 0, 0] = np.nan
    slot = np.array(jax.jit(metrics.largest_slot)(broken))
    assert slot[1, 0, 0] == -1
    slot[1, 0, 0] = MASKS[1, :, 0, 0, 0].argmax()
    np.testing.assert_array_equal(slot, MASKS[..., 0].argmax(1))
    usage = jax.jit(metrics.slot_usage)(broken)
    assert usage[0] == 4 and np.isnan(usage[1]) and np.isnan(jax.jit(metrics.mask_entropy)(broken)[1])
