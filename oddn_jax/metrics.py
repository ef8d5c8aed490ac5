"""Numbers that say how well, and how, a model decomposes and predicts; all of them one per frame, and jittable.

Frames are floating-point arrays of the same shape, label images integer arrays of the same shape: nothing is broadcast,
other types and empty arrays are refused. A frame that holds NaN has no score but NaN. The same holds of a frame with a
label outside of 0 .. num_labels - 1, which is refused where values are known already, outside of `jit` and `vmap`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from oddn_jax.inputs import check_labels, check_masks, check_same_frames, describe

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5  # pixels
MAX_MATCHED_LABELS = 16  # of `miou`, whose time and memory double with each


def mse(prediction: Float[Array, "*b h w c"], target: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
    """Mean squared error of each frame over pixels and colours, for pixels in [0, 1].

    Of predicted frames it is the paper's Figure 7: the error of each step of the prediction.
    """
    prediction, target = check_same_frames(prediction, target)
    return ((prediction - target) ** 2).mean((-3, -2, -1))


def psnr(prediction: Float[Array, "*b h w c"], target: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
    """Peak signal-to-noise ratio of each frame in decibels, for pixels in [0, 1]; infinite for equal frames.

    Source: as scikit-image's peak_signal_noise_ratio with data_range=1.
    """
    return -10 * jnp.log10(mse(prediction, target))


def ssim(prediction: Float[Array, "*b h w c"], target: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
    """Structural similarity of each frame, for pixels in [0, 1]; 1 for equal frames.

    The means and (co)variances are those under a Gaussian window of 11 x 11 pixels with a standard deviation of 1.5;
    the result is averaged over colours and all windows that lie inside the frame.

    Raises:
      ValueError: a frame is smaller than the window, or the two have different shapes.

    Source: Wang et al. 2004, as scikit-image's structural_similarity with gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, data_range=1 and channel_axis=-1.
    """
    prediction, target = check_same_frames(prediction, target)
    height, width = prediction.shape[-3:-1]
    if min(height, width) < SSIM_WINDOW:
        raise ValueError(
            f"SSIM needs frames of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, not {height} x {width}"
        )
    rows, columns = _gaussian_windows(height), _gaussian_windows(width)

    def smooth(x):
        return jnp.einsum("ih,...hwc,jw->...ijc", rows, x, columns, precision=jax.lax.Precision.HIGHEST)

    mean_p, mean_t = smooth(prediction), smooth(target)
    variances = smooth(prediction**2) + smooth(target**2) - mean_p**2 - mean_t**2
    covariance = smooth(prediction * target) - mean_p * mean_t
    luminance = (2 * mean_p * mean_t + 0.01**2) / (mean_p**2 + mean_t**2 + 0.01**2)
    structure = (2 * covariance + 0.03**2) / (variances + 0.03**2)
    return (luminance * structure).mean((-3, -2, -1))


def _gaussian_windows(size: int) -> np.ndarray:
    """Each row averages over one window along an axis of so many pixels: f32[size - 10, size]."""
    offset = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    window = np.exp(-0.5 * (offset / SSIM_SIGMA) ** 2)
    starts = range(size - SSIM_WINDOW + 1)
    rows = [np.pad(window / window.sum(), (start, len(starts) - 1 - start)) for start in starts]
    return np.stack(rows).astype(np.float32)


def largest_slot(slot_masks: Float[Array, "*b k h w 1"]) -> Int[Array, "*b h w"]:
    """The slot with the largest mask at each pixel, the first of equal ones; -1, of no score, where a mask is NaN."""
    masks = slot_masks[..., 0]
    return jnp.where(jnp.isnan(masks).any(-3), -1, masks.argmax(-3))


def slot_usage(slot_masks: Float[Array, "*b k h w 1"]) -> Float[Array, "*b"]:
    """Number of slots that are the largest one somewhere in the frame, 1 to k.

    Raises:
      ValueError: the masks are no shares that sum to 1 (seen outside of `jit` and `vmap` alone, here as below).
    """
    check_masks(slot_masks)
    winner = largest_slot(slot_masks)
    used = jax.nn.one_hot(winner, slot_masks.shape[-4]).any((-3, -2)).sum(-1).astype(slot_masks.dtype)
    return jnp.where((winner >= 0).all((-2, -1)), used, jnp.nan)


def mask_entropy(slot_masks: Float[Array, "*b k h w 1"]) -> Float[Array, "*b"]:
    """Mean over pixels of the masks' entropy as a share of its largest value, log k: 0 decided, 1 shared by all.

    Raises:
      ValueError: the masks are no shares that sum to 1.
    """
    check_masks(slot_masks)
    entropy = jax.scipy.special.entr(slot_masks).sum(-4).mean((-3, -2, -1))
    return entropy / jnp.log(max(slot_masks.shape[-4], 2))


def training_diagnostics(
    video: Float[Array, "b t h w 3"],
    reconstruction: Float[Array, "b t h w 3"],
    slot_masks: Float[Array, "b t k h w 1"] | None = None,
    slot_kl: Float[Array, "b t k"] | None = None,
) -> dict[str, Float[Array, ""]]:
    """What to watch while training: a collapse shows here in the first thousand steps, and hardly in the loss.

    Args:
      video: at least three frames.
      reconstruction: the last one of each frame.
      slot_masks: of a model with slots.
      slot_kl: of each slot, in nats.

    Returns:
      By name, means over the batch: `mse` of the reconstruction, `mse_copy_last` of repeating the frame before (the
      reference for `mse_predicted`), `slot_usage`, `mask_entropy`, and `slot_kl_1` to `slot_kl_k`: the KL of a frame's
      slots, largest first, since slots come in no common order.

    Raises:
      ValueError: the clips have fewer than three frames, or an array another shape than it should.
    """
    if video.ndim != 5 or video.shape[1] < 3:
        raise ValueError(f"training needs at least 3 frames a clip, the video is {describe(video)}")
    found = {
        "mse": mse(reconstruction, video).mean(),
        "mse_copy_last": mse(video[:, 1:-1], video[:, 2:]).mean(),
    }
    if slot_masks is not None:
        found |= {
            "slot_usage": slot_usage(slot_masks).mean(),
            "mask_entropy": mask_entropy(slot_masks).mean(),
        }
    if slot_kl is not None:
        ranked = -jnp.sort(-slot_kl, -1)
        found |= {f"slot_kl_{rank + 1}": ranked[..., rank].mean() for rank in range(ranked.shape[-1])}
    return found


def contingency(
    truth: Int[Array, "*b h w"], prediction: Int[Array, "*b h w"], num_labels: int
) -> Float[Array, "*b n n"]:
    """Number of pixels with each pair of labels, truth first; labels run from 0 to num_labels - 1.

    Raises:
      ValueError: the two differ in shape, hold no integers, or, where values are known, other labels; here as below.
    """
    check_labels({"truth": truth, "prediction": prediction}, num_labels)
    labels = [x.reshape(*x.shape[:-2], -1) for x in (truth, prediction)]
    table = jnp.einsum("...pi,...pj->...ij", *(jax.nn.one_hot(x, num_labels) for x in labels))
    known = [((x >= 0) & (x < num_labels)).all(-1) for x in labels]
    return jnp.where((known[0] & known[1])[..., None, None], table, jnp.nan)


def ari(
    truth: Int[Array, "*b h w"],
    prediction: Int[Array, "*b h w"],
    num_labels: int,
    *,
    foreground_only: bool = False,
) -> Float[Array, "*b"]:
    """Adjusted Rand index of each frame: 1 for the same partition, about 0 for a random one, however labels are named.

    Args:
      truth: ground-truth labels, 0 is the background.
      prediction: predicted labels, such as the argmax over slots of `slot_masks`.
      num_labels: all labels of both lie in 0 .. num_labels - 1.
      foreground_only: leave out the pixels that truth calls background (FG-ARI, the paper's F-ARI).

    Returns:
      In [-1, 1]. Frames where it is undefined (one cluster or only single pixels on both sides; no foreground) count 1.

    Source: Hubert & Arabie 1985, as scikit-learn's adjusted_rand_score; paper A.2 for the two versions.
    """
    table = contingency(truth, prediction, num_labels)
    if foreground_only:
        table = table.at[..., 0, :].set(0)

    def pairs(counts):
        return counts * (counts - 1) / 2

    agreeing = pairs(table).sum((-2, -1))
    in_truth, in_prediction = pairs(table.sum(-1)).sum(-1), pairs(table.sum(-2)).sum(-1)
    total = pairs(table.sum((-2, -1)))
    expected = in_truth * in_prediction / jnp.maximum(total, 1)
    largest = (in_truth + in_prediction) / 2
    undefined = largest == expected
    return jnp.where(undefined, 1.0, (agreeing - expected) / jnp.where(undefined, 1.0, largest - expected))


def iou(
    truth: Int[Array, "*b h w"],
    prediction: Int[Array, "*b h w"],
    num_labels: int,
    *,
    foreground_only: bool = False,
) -> Float[Array, "*b n n"]:
    """Intersection over union of each pair of labels, truth first; 0 where neither label occurs.

    Args:
      truth, prediction: labels from 0 to num_labels - 1.
      foreground_only: leave out the pixels that truth calls background, which are label 0.
    """
    table = contingency(truth, prediction, num_labels)
    if foreground_only:
        table = table.at[..., 0, :].set(0)
    union = table.sum(-1, keepdims=True) + table.sum(-2, keepdims=True) - table
    return table / jnp.maximum(union, 1)


def miou(
    truth: Int[Array, "*b h w"], prediction: Int[Array, "*b h w"], num_labels: int
) -> Float[Array, "*b"]:
    """Mean over a frame's objects of the intersection over union with the slot that is matched to each.

    The matching is the best there is: no slot serves two objects, and no other choice has a larger mean. Objects that
    get no slot count 0. The background is no object, but the pixels of it that a slot takes count in the union.

    Args:
      truth: ground-truth labels, 0 is the background.
      prediction: predicted labels, such as the argmax over slots of `slot_masks`.
      num_labels: all labels of both lie in 0 .. num_labels - 1; the exact matching looks at all 2**num_labels sets of
        slots.

    Returns:
      In [0, 1]. Frames without an object, where it is undefined, count 1, as in `ari`.

    Raises:
      ValueError: more than MAX_MATCHED_LABELS labels; otherwise as `contingency`.

    Source: the foreground mIoU of the slot literature (SlotFormer's FG-mIoU), with each frame matched by itself because
    this model's slots have no common order over time.
    """
    matched = best_matching(iou(truth, prediction, num_labels)[..., 1:, :])
    objects = jax.nn.one_hot(truth, num_labels).any((-3, -2))[..., 1:].sum(-1)
    return jnp.where((objects == 0) & ~jnp.isnan(matched), 1.0, matched / jnp.maximum(objects, 1))


def best_matching(scores: Float[Array, "*b n k"]) -> Float[Array, "*b"]:
    """The largest sum of non-negative scores in which every row and every column counts at most once.

    Dynamic programming over the 2**k sets of columns: exact, and for few columns made for jit, unlike the Hungarian
    algorithm.

    Raises:
      ValueError: more than MAX_MATCHED_LABELS columns, or none.
    """
    num_columns = scores.shape[-1]
    if not 1 <= num_columns <= MAX_MATCHED_LABELS:
        raise ValueError(
            f"labels are matched exactly: 1 and up to {MAX_MATCHED_LABELS} labels, not {num_columns}"
        )
    sets, columns = np.arange(2**num_columns)[:, None], 1 << np.arange(num_columns)
    contains = (sets & columns) > 0
    best = jnp.zeros((*scores.shape[:-2], len(sets)), scores.dtype)  # with the columns of each set alone
    for row in range(scores.shape[-2]):
        with_column = best[..., sets & ~columns] + scores[..., row, None, :]
        best = jnp.maximum(best, jnp.where(contains, with_column, 0).max(-1))
    return best[..., -1]
