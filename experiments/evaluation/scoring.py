"""What a model makes of the clips of a data set, in numbers: in batches, and each time the same to the last bit."""

import contextlib
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.datasets import dataset_summary
from data_pipelines.progress import Progress
from experiments.evaluation import objects, probe
from experiments.runs.clips import Clips, count_clips, open_batches
from experiments.runs.logs import say
from experiments.training.steps import clip_keys
from oddn_jax import Seen, VideoModel, metrics
from oddn_jax.lpips import lpips

# What rounding to 8 bits does to a frame. The videos hold no more, and equal frames would be infinitely good.
PSNR_LIMIT = 10 * math.log10(12 * 255**2)  # 58.9 dB
MASK_METRICS = ("ari", "fg_ari", "miou")  # need ground truth


# (params, video f32[b t h w 3], example_id u32[b]) -> Seen; what it makes of a clip may hang on that clip alone.
Look = Callable[[Any, jax.Array, jax.Array], Seen]


def look_of(model: VideoModel, num_predicted: int) -> Look:
    """All that the scores need of a model; its noise is keyed by the clip alone."""

    def look(params, video, example_id):
        keys = clip_keys(jax.random.key(0), example_id)
        observed = model.num_context_frames
        return model.look(params, video, keys, num_predicted=num_predicted, num_observed=observed)

    return look


class Slots(NamedTuple):
    """What is compared with the annotated objects."""

    overlap: jax.Array  # f32[b t n n], intersection over union of labels and slots within the foreground
    dynamics: jax.Array | None  # f32[b t-1 k d]


def has_dynamics(slots: Slots | None) -> bool:
    """Whether a model has slots with dynamics."""
    return slots is not None and slots.dynamics is not None


class Measured(NamedTuple):
    """The numbers of each clip, of which `summaries` makes scores; entries of lists are clips, in their order."""

    rows: list[dict[str, np.ndarray]]  # by name, f64 or, of each predicted frame, f64[s]
    turns: list[list[bool]]  # of the collisions that `objects.turns` looks at
    collides: list[bool | None]  # whether a touch first shows in a predicted frame; None where nobody knows
    samples: list[probe.Samples] | None  # of the clips with ground truth; None for a model without dynamics
    has_slots: bool


def measure(
    look: Look,
    params: Any,
    clips: Clips,
    mean_frame: np.ndarray | None,
    *,
    num_observed: int,
    batch_size: int,
    lpips_weights: Mapping[str, Any] | None = None,
    compiler_options: Mapping[str, str] | None = None,
) -> Measured:
    """Looks at clips with a model; nothing but the numbers of each clip is kept.

    Args:
        look: how the model is asked.
        mean_frame: u8[h w 3], of the training videos; without it the scores of predicting it are left out.
        num_observed: frames that the model predicts from.
        batch_size: clips at a time, no more than there are; a short last batch is filled up, so that nothing is
            compiled for it.
        lpips_weights: of `oddn_jax.lpips.lpips_weights`; without them LPIPS is not measured.
        compiler_options: of `oddn_jax.compiler_options`.

    Raises:
        ValueError: there is no such clip, or the model's output is not finite.

    What a clip's segmentation shows beyond its annotated objects (a detector's mistake, or a video without annotation)
    counts as objects of their own; dynamics and predictions are compared for annotated objects only.
    """
    num_labels = dataset_summary(clips.dataset_dir, clips.split).num_objects + 1
    background = None if mean_frame is None else mean_frame / np.float32(255)
    number = count_clips(clips)
    batch_size = min(batch_size, max(number, 1))
    batches = open_batches(clips, batch_size)
    score_batch = jax.jit(_score, static_argnums=(0, 1, 2), compiler_options=dict(compiler_options or {}))
    rows, tracks, samples, turns, collides, with_strangers = [], {}, [], [], [], 0
    progress = Progress("evaluating", math.ceil(number / batch_size), "batches")
    with contextlib.closing(batches), contextlib.closing(progress):
        for batch in batches:
            batch, num_strangers = number_labels(batch)
            with_strangers += num_strangers
            # More of them are compiled for anew, which happens once or twice in a data set.
            num_labels = max(num_labels, int(batch["segmentation"].max()) + 1)
            arrays = params, background, lpips_weights, *filled(batch, batch_size)
            scores, slots, regions = jax.device_get(score_batch(look, num_labels, num_observed, *arrays))
            num_predicted = len(scores["predicted_mse"][0]) if "predicted_mse" in scores else 0
            for clip, example_id in enumerate(batch["example_id"]):
                known = batch["has_segmentation"][clip]
                row = {
                    name: score[clip].astype(np.float64)
                    for name, score in scores.items()
                    if known or name not in MASK_METRICS
                }
                _check_finite(row, example_id, clips)
                annotated = (batch["object_id"][clip] >= 0).any()
                touched = (batch["collision_frame"][clip] >= num_observed).any()
                collides.append(bool(touched) if annotated else None)
                turns.append([])
                if known and num_predicted:
                    shown = batch["segmentation"][clip, : num_observed + num_predicted]
                    of_model = (x[clip] for x in regions)
                    followed = objects.follow(shown, batch["object_id"][clip], num_observed, *of_model)
                    touches = batch["collision_frame"][clip], batch["collision_places"][clip]
                    turns[-1] = objects.turns(followed, *touches)
                    tracks[len(rows)] = followed
                rows.append(row)
                if known and slots is not None:
                    row |= objects.kept(slots.overlap[clip], batch["object_id"][clip])
                if known and has_dynamics(slots):
                    of_slots = slots.overlap[clip], slots.dynamics[clip]
                    truth = batch["object_id"][clip], batch["image_velocity"][clip]
                    samples.append(probe.matched_samples(*of_slots, *truth))
            progress.advance()
    if with_strangers:
        say(
            f"{with_strangers} of {len(rows)} clips show things that are not annotated: they count as objects of their "
            "own"
        )
    for place, of_objects in zip(tracks, objects.scores(list(tracks.values()), num_predicted)):
        rows[place] |= of_objects
    return Measured(rows, turns, collides, samples if has_dynamics(slots) else None, slots is not None)


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


def filled(batch: Mapping[str, np.ndarray], size: int) -> tuple[np.ndarray, ...]:
    """Video, segmentation and ids with the last clip repeated until the batch is full."""
    arrays = batch["video"], batch["segmentation"].astype(np.int32), batch["example_id"].astype(np.uint32)
    return tuple(np.concatenate([x, np.repeat(x[-1:], size - len(x), axis=0)]) for x in arrays)


def _score(
    look, num_labels, num_observed, params, background, lpips_weights, video, segmentation, example_id
):
    """Scores by name, f32[b] or f32[b s]; the slots, where there are any; and what predicted objects are followed by:
    overlaps f32[b n n] and slots i32[b h w] of the last observed frame, slots i32[b s h w] of the predicted ones."""
    seen = look(params, video, example_id)
    scores, slots, regions = {}, None, ()
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
        # As F-ARI: whose the background is does not matter, slots may share it.
        overlap = metrics.iou(segmentation, slot, num_labels, foreground_only=True)
        slots = Slots(overlap, seen.dynamics)
        if seen.predicted_masks is not None:
            last = num_observed - 1
            regions = overlap[:, last], slot[:, last], metrics.largest_slot(seen.predicted_masks)
    if seen.predicted is not None:
        future = video[:, num_observed : num_observed + seen.predicted.shape[1]]
        scores |= compare("predicted_", seen.predicted, future)
        last = video[:, num_observed - 1, None]
        scores |= compare("copy_last_", jnp.broadcast_to(last, future.shape), future)
        if background is not None:
            scores |= compare("mean_frame_", jnp.broadcast_to(background, future.shape), future)
    return scores, slots, regions


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
