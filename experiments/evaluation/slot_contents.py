"""What the numbers of a slot say of the object that it stands for: to a linear map, and to a small network."""

import contextlib
import functools
import itertools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.annotations import COLORS, MATERIALS, SHAPES
from data_pipelines.datasets import dataset_summary, open_split
from data_pipelines.progress import Progress
from experiments.evaluation.linear_probes import SMALLEST_DEVIATION, fit_classes, fit_numbers
from experiments.evaluation.network_probes import fit_network
from experiments.evaluation.objects import own_slots
from experiments.evaluation.scoring import Look, filled, number_labels
from experiments.evaluation.summaries import summarise
from experiments.runs.clips import Clips, count_clips, open_batches
from oddn_jax import metrics

# Of either half; a map from ten numbers to eight colours has 88. Source: our choice.
MIN_SAMPLES = 200
ATTRIBUTES = {"color": COLORS, "material": MATERIALS, "shape": SHAPES}
MOTIONS = ("position", "velocity")  # in the image: pixels, and pixels per clip frame


class Samples(NamedTuple):
    """The slots of one clip that stand for one and the same annotated object in a frame and in the one before it."""

    numbers: dict[str, np.ndarray]  # f32[m i], by what is read: "latents", "change" and perhaps "dynamics"
    attributes: np.ndarray  # i[m 3], places in COLORS, MATERIALS and SHAPES
    motions: np.ndarray  # f32[m 2 2]: position and velocity, x then y; NaN where they are not known
    num_objects: int  # seen in a frame and in the one before, with a slot or without: m and those left out


def take_samples(
    overlap: np.ndarray,
    latents: np.ndarray,
    dynamics: np.ndarray | None,
    is_seen: np.ndarray,
    object_id: np.ndarray,
    attributes: np.ndarray,
    motions: np.ndarray,
) -> Samples:
    """Pairs what a clip's slots say with what is true of the objects that they stand for.

    A slot that is another's in the frame before is left out: its change is none of the object's, and one such leap
    outweighs many small changes in a fit (our choice).

    Args:
        overlap: intersection over union, within the foreground, of label i and slot j in each frame: f[t i j].
        latents: f32[t k l].
        dynamics: f32[t-1 k d], if the model has any.
        is_seen: whether any pixel of the object is, bool[t n].
        object_id: i[n], padded with -1; label object_id + 1 is the object's.
        attributes: i[n 3].
        motions: f[t n 2 2], NaN where they are not known.
    """
    owner = np.stack([own_slots(of_frame, object_id + 1) for of_frame in overlap])
    seen = (object_id >= 0) & is_seen
    seen = seen[1:] & seen[:-1]
    taken = seen & (owner[1:] >= 0) & (owner[1:] == owner[:-1])
    frame, object_ = np.nonzero(taken)
    slot = owner[1:][taken]
    numbers = {"latents": latents[1:][frame, slot], "change": np.diff(latents, axis=0)[frame, slot]}
    if dynamics is not None:
        numbers["dynamics"] = dynamics[frame, slot]
    return Samples(numbers, attributes[object_], motions[1:][taken], int(seen.sum()))


def read_slots(
    look: Look, params: Any, clips: Clips, batch_size: int, compiler_options: Mapping[str, str] | None = None
) -> list[Samples]:
    """Looks at clips with a model; those without ground truth are left out.

    Args:
        look: how the model is asked.

    Raises:
        ValueError: there is no such clip, the model has no slots with masks and latents, or these are not finite.
    """
    num_labels = dataset_summary(clips.dataset_dir, clips.split).num_objects + 1
    opened = open_split(clips.dataset_dir, clips.split)
    number = count_clips(clips)
    batch_size = min(batch_size, max(number, 1))
    batches = open_batches(clips, batch_size)

    def see(num_labels, params, video, segmentation, example_id):
        seen = look(params, video, example_id)
        if seen.slot_masks is None or seen.latents is None:
            raise ValueError("the model has no slots to read, or none with latents")
        slot = metrics.largest_slot(seen.slot_masks)
        num_labels = max(num_labels, seen.slot_masks.shape[2])
        overlap = metrics.iou(segmentation, slot, num_labels, foreground_only=True)
        is_finite = jnp.isfinite(seen.slot_masks).all((1, 2, 3, 4, 5))
        return overlap, is_finite, seen.latents, seen.dynamics

    see = jax.jit(see, static_argnums=0, compiler_options=dict(compiler_options or {}))
    samples, progress = [], Progress("looking", math.ceil(number / batch_size), "batches")
    with contextlib.closing(batches), contextlib.closing(progress):
        for batch in batches:
            batch, _ = number_labels(batch)
            num_labels = max(num_labels, int(batch["segmentation"].max()) + 1)
            seen = see(num_labels, params, *filled(batch, batch_size))
            overlap, is_finite, latents, dynamics = jax.device_get(seen)
            for clip, place in enumerate(batch["example_id"]):
                numbers = [of_all[clip] for of_all in (latents, dynamics) if of_all is not None]
                if not is_finite[clip] or not all(np.isfinite(x).all() for x in numbers):
                    raise ValueError(
                        f"what the model sees in video {place} of {clips.split} is not finite: the model is broken"
                    )
                if not batch["has_segmentation"][clip]:
                    continue
                objects, object_id = opened.records[int(place)]["objects"], batch["object_id"][clip]
                is_seen = (batch["segmentation"][clip][:, None] == object_id[:, None, None] + 1).any((-2, -1))
                attributes = np.zeros((len(object_id), len(ATTRIBUTES)), int)
                for column, name in enumerate(ATTRIBUTES):
                    attributes[: len(objects[name]), column] = objects[name]
                motions = np.stack([batch[f"image_{name}"][clip] for name in MOTIONS], -2)
                of_clip = None if dynamics is None else dynamics[clip]
                of_objects = is_seen, object_id, attributes, motions
                samples.append(take_samples(overlap[clip], latents[clip], of_clip, *of_objects))
            progress.advance()
    return samples


def read(samples: Sequence[Samples]) -> dict[str, Any]:
    """Fits linear maps and small networks on the first half of the clips, and tests them on the other.

    Returns:
        "num_clips" with a known segmentation; "num_fitted" and "num_tested", samples; "tracked", the share of the
        objects seen that are among them; "read" by linear maps and "read_by_network",
        by what is read ("nothing": the most frequent class, and the mean) and then by what of the object is looked
        for: of `color`, `material` and `shape` the accuracy {"mean", "standard_error", "n"} over tested clips, of
        `position` and `velocity` R2 (1: no error, 0: no better than the mean of those tested), both components
        together, each weighted by its variance; None where fewer than `MIN_SAMPLES` of either half have a known one.

    Raises:
        ValueError: fewer than `MIN_SAMPLES` samples in either half.
    """
    if not samples:
        raise ValueError(
            "no clip has a known segmentation: nobody can say which slot stands for which object"
        )
    halves = samples[: len(samples) // 2], samples[len(samples) // 2 :]
    sizes = [sum(len(clip.motions) for clip in half) for half in halves]
    if min(sizes) < MIN_SAMPLES:
        raise ValueError(
            f"of {sum(clip.num_objects for clip in samples)} times that an annotated object is seen in two frames, a "
            f"slot stands for it {sizes[0]} times in the first half of the clips and {sizes[1]} times in the other: "
            f"{MIN_SAMPLES} each are needed; take more clips, or a model whose slots separate objects"
        )
    inputs = {name: [clip.numbers[name] for clip in samples] for name in samples[0].numbers}
    nothing = [np.zeros((len(clip.motions), 1)) for clip in samples]
    return {
        "num_clips": len(samples),
        "num_fitted": sizes[0],
        "num_tested": sizes[1],
        "tracked": sum(sizes) / sum(clip.num_objects for clip in samples),
        "read": {
            name: _read_from(numbers, samples, fit_linear)
            for name, numbers in ({"nothing": nothing} | inputs).items()
        },
        "read_by_network": {
            name: _read_from(numbers, samples, fit_small_network) for name, numbers in inputs.items()
        },
    }


# What reads slots f[s i]: a score f[s c] for each class of each attribute, and each of the motions f[s 2].
Probes = tuple[list[Callable[[np.ndarray], np.ndarray]], list[Callable[[np.ndarray], np.ndarray] | None]]


def fit_linear(numbers: np.ndarray, attributes: np.ndarray, motions: np.ndarray) -> Probes:
    """Logistic and linear regressions from f[s i] to attributes i[s 3] and motions f[s 2 2], NaN where not known."""
    kinds = [
        fit_classes(numbers, column, len(values)) for column, values in zip(attributes.T, ATTRIBUTES.values())
    ]
    known = [np.isfinite(motions[:, place]).all(-1) for place in range(len(MOTIONS))]
    return kinds, [
        fit_numbers(numbers[of], motions[of, place]) if of.sum() >= MIN_SAMPLES else None
        for place, of in enumerate(known)
    ]


def fit_small_network(numbers: np.ndarray, attributes: np.ndarray, motions: np.ndarray) -> Probes:
    """One network that tells all of it, brought to unit scale and with the same weight."""
    one_hot = [np.eye(len(values))[column] for column, values in zip(attributes.T, ATTRIBUTES.values())]
    told = np.concatenate([*one_hot, motions.reshape(len(motions), -1)], -1)
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # no motion may be known
        mean, scale = (np.nan_to_num(of(told, axis=0)) for of in (np.nanmean, np.nanstd))
    of_numbers = numbers.mean(0), np.maximum(numbers.std(0), SMALLEST_DEVIATION)
    scale = np.maximum(scale, SMALLEST_DEVIATION)
    probe = fit_network((numbers - of_numbers[0]) / of_numbers[1], (told - mean) / scale)

    def read(start, stop, asked):
        return (probe((asked - of_numbers[0]) / of_numbers[1]) * scale + mean)[:, start:stop]

    ends = np.cumsum([0, *map(len, ATTRIBUTES.values()), *[2] * len(MOTIONS)]).tolist()
    parts = [functools.partial(read, *span) for span in itertools.pairwise(ends)]
    enough = [np.isfinite(motions[:, place]).all(-1).sum() >= MIN_SAMPLES for place in range(len(MOTIONS))]
    kinds, moves = parts[: len(ATTRIBUTES)], parts[len(ATTRIBUTES) :]
    return kinds, [part if known else None for part, known in zip(moves, enough)]


def _read_from(numbers: Sequence[np.ndarray], samples: Sequence[Samples], fit: Callable) -> dict[str, Any]:
    half = len(samples) // 2
    fitted, tested = samples[:half], samples[half:]
    learned = [np.concatenate([getattr(clip, name) for clip in fitted]) for name in ("attributes", "motions")]
    kinds, moves = fit(np.concatenate(numbers[:half]), *learned)
    found: dict[str, Any] = {}
    for column, (name, probe) in enumerate(zip(ATTRIBUTES, kinds)):
        right = [
            (probe(of_clip).argmax(-1) == clip.attributes[:, column]).mean()
            for of_clip, clip in zip(numbers[half:], tested)
            if len(of_clip)
        ]
        found[name] = summarise(right)
    asked, truth = np.concatenate(numbers[half:]), np.concatenate([clip.motions for clip in tested])
    for place, (name, probe) in enumerate(zip(MOTIONS, moves)):
        found[name] = _r2(probe, asked, truth[:, place])
    return found


def _r2(
    probe: Callable[[np.ndarray], np.ndarray] | None, asked: np.ndarray, truth: np.ndarray
) -> float | None:
    known = np.isfinite(truth).all(-1)
    if probe is None or known.sum() < MIN_SAMPLES:
        return None
    truth = truth[known]
    all_ = ((truth - truth.mean(0)) ** 2).sum()
    return float(1 - ((truth - probe(asked[known])) ** 2).sum() / all_) if all_ > 0 else None


def table(found: dict[str, Any]) -> str:
    """What `read` gives, as text."""
    columns = (*ATTRIBUTES, *MOTIONS)
    lines = [
        f"objects with one and the same slot in two frames: {100 * found['tracked']:.1f} % of those seen; "
        f"{found['num_fitted']} samples of the first half of the clips for the fit, {found['num_tested']} of the other",
        f"{'':<16}" + "".join(f"{name:>16}" for name in columns),
        f"{'':<16}" + f"{'right, %':>16}" * len(ATTRIBUTES) + f"{'R2':>16}" * len(MOTIONS),
    ]
    for title, rows in (("linear maps of", found["read"]), ("networks of", found["read_by_network"])):
        lines.append(title)
        for name, row in rows.items():
            shown = [_share(row[column]) for column in ATTRIBUTES]
            shown += ["-" if row[column] is None else f"{row[column]:.3f}" for column in MOTIONS]
            lines.append(f"  {name:<14}" + "".join(f"{text:>16}" for text in shown))
    return "\n".join(lines)


def _share(score: dict[str, Any]) -> str:
    error = score["standard_error"]
    return f"{100 * score['mean']:.1f}" + ("" if error is None else f" ({100 * error:.1f})")
