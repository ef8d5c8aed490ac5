"""The scores of a model over the clips of a data set: in batches, and each time the same to the last bit."""

import contextlib
import functools
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines import clips as clip_rules
from data_pipelines import loaders
from data_pipelines.datasets import dataset_summary, read_index
from data_pipelines.progress import Progress
from experiments.evaluation import probe
from experiments.runs.logs import say
from experiments.training.steps import clip_keys
from oddn_jax import Seen, VideoModel, metrics
from oddn_jax.lpips import lpips

# How `loaders.evaluation_batches` is asked for each kind of clips. Source of "paper": section 4.1.
RULES = {
    "paper": dict(selection="all_visible", num_objects=6, limit=1000),
    "first": dict(selection="first"),
    "collision": dict(selection="collision"),
}
# What rounding to 8 bits does to a frame. The videos hold no more, and equal frames would be infinitely good.
PSNR_LIMIT = 10 * math.log10(12 * 255**2)  # 58.9 dB
MASK_METRICS = ("ari", "fg_ari", "miou")  # need ground truth


# (params, video f32[b t h w 3], example_id u32[b]) -> Seen; what it makes of a clip may hang on that clip alone.
Look = Callable[[Any, jax.Array, jax.Array], Seen]


class Clips(NamedTuple):
    """Which clips are scored."""

    dataset_dir: pathlib.Path
    split: str
    rule: str  # a key of RULES
    num_frames: int
    stride: int  # source frames
    limit: int | None = None  # only the first so many


def look_of(model: VideoModel, num_predicted: int) -> Look:
    """All that the scores need of a model; its noise is keyed by the clip alone."""

    def look(params, video, example_id):
        keys = clip_keys(jax.random.key(0), example_id)
        observed = model.num_context_frames
        return model.look(params, video, keys, num_predicted=num_predicted, num_observed=observed)

    return look


def count_clips(clips: Clips) -> int:
    """How many clips of the kind the split has, up to the limit."""
    index = read_index(clips.dataset_dir, clips.split)
    source_stride = index["source_stride"]
    gap = clip_rules.stored_gap(clips.stride, source_stride)

    def has_clip(entry):
        if clips.rule == "paper":
            start = clip_rules.all_visible_start(entry["all_visible"], clips.num_frames, gap, source_stride)
            return entry["num_objects"] == RULES["paper"]["num_objects"] and start is not None
        if clips.rule == "collision":
            return clip_rules.collision_starts(
                entry["collision_frames"], entry["num_frames"], clips.num_frames, gap
            ).size
        return clip_rules.clip_starts(entry["num_frames"], clips.num_frames, gap).size

    number = sum(bool(has_clip(entry)) for entry in index["entries"])
    limit = _limit(clips)
    return number if limit is None else min(number, limit)


def _limit(clips: Clips) -> int | None:
    return RULES[clips.rule].get("limit") if clips.limit is None else clips.limit


def evaluate(
    look: Look,
    params: Any,
    clips: Clips,
    mean_frame: np.ndarray | None,
    *,
    num_observed: int,
    batch_size: int,
    lpips_weights: Mapping[str, Any] | None = None,
    compiler_options: Mapping[str, str] | None = None,
) -> dict[str, dict[str, Any]]:
    """Scores a model over clips; nothing but the numbers of each clip is kept.

    Args:
        look: how the model is asked.
        mean_frame: u8[h w 3], of the training videos; without it the scores of predicting it are left out.
        num_observed: frames that the model predicts from.
        batch_size: clips at a time; a short last batch is filled up, so that nothing is compiled for it.
        lpips_weights: of `oddn_jax.lpips.lpips_weights`; without them LPIPS is not measured.
        compiler_options: of `oddn_jax.compiler_options`.

    Returns:
        By name {"mean", "standard_error", "n"}, over clips, each clip's mean over its frames being one sample: `mse`,
        `psnr`, `ssim` and perhaps `lpips` of the reconstruction; `ari`, `fg_ari` and `miou` over the clips with ground
        truth; `predicted_`, `copy_last_` and `mean_frame_` `mse` and so on as lists with an entry for each predicted
        frame; `dynamics_r2`, `dynamics_r2_x` and `dynamics_r2_y` of `probe.fit_velocity`, n being the held-out samples.
        Means are None where n is 0 (or R2 has no value); what the model does not have is left out. PSNR of a frame is
        at most 58.9 dB.

    Raises:
        ValueError: there is no such clip, or the model's output is not finite.

    What a clip's segmentation shows beyond its annotated objects (a detector's mistake, or a video without annotation)
    counts as objects of their own; the dynamics are compared for annotated objects only.
    """
    num_labels = dataset_summary(clips.dataset_dir, clips.split).num_objects + 1
    background = None if mean_frame is None else mean_frame / np.float32(255)
    batches = loaders.evaluation_batches(
        clips.dataset_dir,
        clips.split,
        num_frames=clips.num_frames,
        stride=clips.stride,
        batch_size=batch_size,
        **RULES[clips.rule] | {"limit": _limit(clips)},
    )
    score_batch = jax.jit(_score, static_argnums=(0, 1, 2), compiler_options=dict(compiler_options or {}))
    rows, samples, has_slots, has_dynamics, with_strangers = [], [], False, False, 0
    progress = Progress("evaluating", math.ceil(count_clips(clips) / batch_size), "batches")
    with contextlib.closing(batches), contextlib.closing(progress):
        for batch in batches:
            batch, num_strangers = number_labels(batch)
            with_strangers += num_strangers
            # More of them are compiled for anew, which happens once or twice in a data set.
            num_labels = max(num_labels, int(batch["segmentation"].max()) + 1)
            arrays = params, background, lpips_weights, *_filled(batch, batch_size)
            scores, slots = jax.device_get(score_batch(look, num_labels, num_observed, *arrays))
            has_slots, has_dynamics = "ari" in scores, bool(slots)
            for clip, example_id in enumerate(batch["example_id"]):
                known = batch["has_segmentation"][clip]
                row = {
                    name: score[clip].astype(np.float64)
                    for name, score in scores.items()
                    if known or name not in MASK_METRICS
                }
                _check_finite(row, example_id, clips)
                rows.append(row)
                if known and slots:
                    overlap, dynamics = (values[clip] for values in slots)
                    truth = batch["object_id"][clip], batch["image_velocity"][clip]
                    samples.append(probe.matched_samples(overlap, dynamics, *truth))
            progress.advance()
    if with_strangers:
        say(
            f"{with_strangers} of {len(rows)} clips show things that are not annotated: they count as objects of their "
            "own"
        )
    # Without ground truth a model with slots has scores of no clips; one without slots has no such scores.
    masks = MASK_METRICS if has_slots else ()
    names = dict.fromkeys([*(name for row in rows for name in row), *masks])
    summary = {name: summarise([row[name] for row in rows if name in row]) for name in names}
    return summary | _dynamics(samples) if has_dynamics else summary


def number_labels(batch: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], int]:
    """Numbers the labels of each clip without gaps, its annotated objects first, then what else is to be seen.

    Of data as they should be, objects 0 to n - 1 and nothing else, this changes nothing. Exact matching takes
    `metrics.MAX_MATCHED_LABELS` at most: what a clip has beyond them is one label together.

    Returns:
        The batch with other `segmentation` and `object_id`, and in how many of its clips there is more to be seen than
        is annotated, though something is.
    """
    segmentation, object_id = np.copy(batch["segmentation"]), np.copy(batch["object_id"])
    with_strangers = 0
    for clip in range(len(segmentation)):
        objects = object_id[clip][object_id[clip] >= 0] + 1
        strangers = np.setdiff1d(np.unique(segmentation[clip]), [0, *objects])
        number = np.zeros(257, np.int32)  # objects are numbered to 254, labels to 255
        number[np.sort(objects)] = 1 + np.arange(len(objects))
        last = max(len(objects), metrics.MAX_MATCHED_LABELS - 1)
        number[strangers] = np.minimum(1 + len(objects) + np.arange(len(strangers)), last)
        segmentation[clip], object_id[clip] = number[segmentation[clip]], number[object_id[clip] + 1] - 1
        with_strangers += bool(len(objects) and len(strangers))
    return {**batch, "segmentation": segmentation, "object_id": object_id}, with_strangers


def _filled(batch: Mapping[str, np.ndarray], size: int) -> tuple[np.ndarray, ...]:
    """Video, segmentation and ids with the last clip repeated until the batch is full."""
    arrays = batch["video"], batch["segmentation"].astype(np.int32), batch["example_id"].astype(np.uint32)
    return tuple(np.concatenate([x, np.repeat(x[-1:], size - len(x), axis=0)]) for x in arrays)


def _score(
    look, num_labels, num_observed, params, background, lpips_weights, video, segmentation, example_id
):
    """Scores by name, f32[b] or f32[b s], and what the probe of the dynamics needs: overlaps f32[b t n n], dynamics."""
    seen = look(params, video, example_id)
    scores, slots = {}, ()
    compare = functools.partial(_compare, lpips_weights)
    if seen.reconstruction is not None:
        compared = compare("", seen.reconstruction, video)
        scores |= {name: score.mean(-1) for name, score in compared.items()}
    if seen.slot_masks is not None:
        num_labels = max(num_labels, seen.slot_masks.shape[2])
        slot = metrics.largest_slot(seen.slot_masks)
        scores["ari"] = metrics.ari(segmentation, slot, num_labels).mean(-1)
        scores["fg_ari"] = metrics.ari(segmentation, slot, num_labels, foreground_only=True).mean(-1)
        if num_labels <= metrics.MAX_MATCHED_LABELS:
            scores["miou"] = metrics.miou(segmentation, slot, num_labels).mean(-1)
        if seen.dynamics is not None:
            # As F-ARI: whose the background is does not matter, slots may share it.
            slots = metrics.iou(segmentation, slot, num_labels, foreground_only=True), seen.dynamics
    if seen.predicted is not None:
        future = video[:, num_observed : num_observed + seen.predicted.shape[1]]
        scores |= compare("predicted_", seen.predicted, future)
        last = video[:, num_observed - 1, None]
        scores |= compare("copy_last_", jnp.broadcast_to(last, future.shape), future)
        if background is not None:
            scores |= compare("mean_frame_", jnp.broadcast_to(background, future.shape), future)
    return scores, slots


def _compare(
    lpips_weights: Mapping[str, Any] | None, prefix: str, frames: jax.Array, truth: jax.Array
) -> dict[str, jax.Array]:
    scores = {
        f"{prefix}mse": metrics.mse(frames, truth),
        f"{prefix}psnr": jnp.minimum(metrics.psnr(frames, truth), PSNR_LIMIT),
        f"{prefix}ssim": metrics.ssim(frames, truth),
    }
    if lpips_weights is not None:
        scores[f"{prefix}lpips"] = lpips(frames, truth, lpips_weights)
    return scores


def _check_finite(row: Mapping[str, np.ndarray], example_id: int, clips: Clips) -> None:
    wrong = [name for name, score in row.items() if not np.isfinite(score).all()]
    if wrong:
        raise ValueError(
            f"{wrong[0]} is not finite in video {example_id} of {clips.split}: the model is broken"
        )


def summarise(samples: list[np.ndarray]) -> dict[str, Any]:
    """Mean, standard error and number of samples; of several numbers at once where each sample is a list."""
    if not samples:
        return {"mean": None, "standard_error": None, "n": 0}
    samples = np.stack(samples)
    error = (samples.std(0, ddof=1) / math.sqrt(len(samples))).tolist() if len(samples) > 1 else None
    return {"mean": samples.mean(0).tolist(), "standard_error": error, "n": len(samples)}


def _dynamics(samples: list[probe.Samples]) -> dict[str, dict[str, Any]]:
    fit = probe.fit_velocity(samples)
    rest = {"standard_error": None, "n": fit.num_held_out, "n_fitted": fit.num_fitted}
    return {f"dynamics_{name}": {"mean": getattr(fit, name), **rest} for name in ("r2", "r2_x", "r2_y")}
