"""The paper's figures of a trained model, one function each: which clips, which numbers, which words below."""

import pathlib
from functools import partial
from typing import Any

import numpy as np

from experiments.pictures import analysis, plates
from experiments.pictures.drawing import save_gif, save_png
from experiments.pictures.observations import (
    Clip,
    Source,
    collision_clips,
    find_collision,
    find_mover,
)
from experiments.pictures.report import Picture
from experiments.runs.trained import Trained

NUM_SEARCHED_CLIPS = 16  # for a collision of two objects with slots of their own
TRAVERSAL_STEPS = np.linspace(-2, 2, 5)  # standard deviations
# The names of metrics.json, and ours, beside the model's.
REFERENCES = {"copy_last_mse": "copy of the last seen frame", "mean_frame_mse": "mean training frame"}


def left_out(trained: Trained, clip: Clip) -> str:
    """What cannot be drawn of a model, in a sentence; nothing where it has everything."""
    name, missing = type(trained.model).__name__, []
    if clip.seen.decoded.slot_masks is None:
        missing.append("segments nothing, for it has no slots")
    if clip.seen.future is None:
        missing.append("predicts no frames")
    if not analysis.has_dynamics(trained.model):
        missing.append("has no dynamics and no relations between slots")
    return f"{name} {'; it '.join(missing)}" if missing else ""


def draw_clip(clip: Clip, folder: pathlib.Path, number: int) -> list[Picture]:
    """Figures 3 and 8, and 4 to 6."""
    video, decoded, future = clip.batch["video"], clip.seen.decoded, clip.seen.future
    truth = clip.batch["segmentation"] if clip.batch["has_segmentation"] else None
    prediction, decomposition = f"prediction_clip_{number:02}", f"decomposition_clip_{number:02}"
    pictures = [
        Picture(
            f"Decomposition, clip {number + 1} (paper: Figures 4 to 6)",
            "Slots are matched between frames afterwards, by the overlap of their masks and by their colours.",
            "Rows of frames: input, reconstruction, segmentation, and the mask and the picture of each slot.",
            (
                save_png(plates.decomposition_strip(video, decoded, truth), folder / f"{decomposition}.png"),
                save_gif(plates.decomposition_frames(video, decoded), folder / f"{decomposition}.gif"),
            ),
        ),
    ]
    if future is None:
        return pictures
    future = future.decoded
    observed = len(video) - len(future.reconstruction)
    return [
        Picture(
            f"Prediction, clip {number + 1} (paper: Figures 3 and 8)",
            f"The model sees the first {observed} frames and predicts the other {len(future.reconstruction)}.",
            f"Rows of {len(video)} frames: truth, predicted frames, their segmentation, their error.",
            (
                save_png(plates.prediction_strip(video, future), folder / f"{prediction}.png"),
                save_gif(plates.prediction_frames(video, future), folder / f"{prediction}.gif"),
            ),
        ),
        *pictures,
    ]


def draw_errors(
    trained: Trained,
    source: Source,
    errors: dict[str, np.ndarray],
    metrics: dict[str, Any],
    folder: pathlib.Path,
) -> Picture:
    """Figure 7: from metrics.json where it is about this model and such clips, else from n clips' errors f32[n s]."""
    name = type(trained.model).__name__
    scores, num_clips = metrics.get("metrics", {}), len(errors[name])
    curves = {
        name: (values.mean(0), values.std(0, ddof=1) / num_clips**0.5 if num_clips > 1 else 0 * values[0])
        for name, values in errors.items()
    }
    measured = tuple(map(metrics.get, ("step", "data", "split", "clips", "stride")))
    shown = trained.provenance.get("step"), source.name, source.split, source.rule, source.stride
    is_as_long = len(scores.get("predicted_mse", {}).get("mean") or ()) == errors[name].shape[1]
    if measured == shown and is_as_long:
        num_clips = scores["predicted_mse"]["n"]
        curves = {
            name: (scores[key]["mean"], scores[key]["standard_error"] or np.zeros(len(scores[key]["mean"])))
            for key, name in {"predicted_mse": name, **REFERENCES}.items()
            if key in scores
        }
    values = "; ".join(f"{name}: {', '.join(f'{x:.4f}' for x in mean)}" for name, (mean, _) in curves.items())
    return Picture(
        "Prediction error (paper: Figure 7)",
        f"Mean squared error of each predicted frame over {num_clips} clips. {values}.",
        f"Line chart of the error over the predicted frame. {values}.",
        (save_png(plates.error_chart(curves), folder / "prediction_error.png"),),
    )


def draw_relation(trained: Trained, source: Source, clips: list[Clip], folder: pathlib.Path) -> Picture:
    """Figure 9, of the first clip with a collision after the observed frames; of any clip where there is none."""
    clip, collision = clips[0], None
    for candidate in collision_clips(trained, source, NUM_SEARCHED_CLIPS):
        found = find_collision(source, candidate)
        if collision is None or found.frame is not None:
            clip, collision = candidate, found
        if found.frame is not None:
            break
    pair, frame, reason = collision or find_collision(source, clip)
    video, seen = clip.batch["video"], clip.seen
    series = analysis.pair_series(seen.interaction.pair_attention, pair)
    peak = f"The attention of slots {pair[0] + 1} and {pair[1] + 1} peaks at t = {series.argmax() + 2}."
    return Picture(
        "Relation attention (paper: Figure 9)",
        f"How much every slot acts on each of two, from the second frame on. {reason} {peak}",
        f"Frames of a clip, and below them two line charts of attention over time. {reason} {peak}",
        (
            save_png(plates.relation_chart(video, seen, pair, frame), folder / "relation_attention.png"),
            save_gif(
                plates.relation_frames(video, seen.decoded, pair, series, frame),
                folder / "relation_attention.gif",
            ),
        ),
    )


def draw_dynamics(
    trained: Trained, clips: list[Clip], spread: np.ndarray, folder: pathlib.Path
) -> list[Picture]:
    """Figure 10 a to c."""
    clip, frame, slot, reason = find_mover(clips, analysis.has_background(trained.model))
    seen = clip.seen
    dynamics, latents = seen.interaction.updated_dynamics[frame - 1], seen.latents[frame]
    apply = partial(analysis.apply, trained.model, trained.params)
    predict, decode = (partial(apply, method=method) for method in ("predict_latents", "decode"))
    values = dynamics[slot][:, None] + spread[:, None] * TRAVERSAL_STEPS
    traversal = analysis.traverse(predict, decode, latents, dynamics, slot, values.astype(np.float32))
    speeds = "; ".join(
        f"dimension {d + 1}: x {x:+.3f}, y {y:+.3f}" for d, (x, y) in enumerate(traversal.velocity)
    )
    return [
        Picture(
            "Attention of the distillation (paper: Figure 10 a, b)",
            f"Where slot {slot + 1} of t = {frame + 1} looks when its dynamics are distilled: wider and darker lines "
            "mean more attention; what lacks to 100 % goes to slots of its own frame. Below, the same for all slots. "
            f"{reason}",
            "Two rows of slots joined by lines, and a table of attention in per cent.",
            (
                save_png(
                    plates.match_chart(clip.batch["video"], seen, frame, slot),
                    folder / "dynamics_attention.png",
                ),
            ),
        ),
        Picture(
            "What the dynamics dimensions mean (paper: Figure 10 c)",
            f"One dimension of slot {slot + 1}'s dynamics is varied by up to two standard deviations around its value; "
            f"the crosses are the centre of the slot's mask. Its velocity, in pixels per frame and unit: {speeds}.",
            f"Rows of predicted frames, one for each dynamics dimension, and an arrow for its velocity. {speeds}.",
            (
                save_png(plates.traversal_chart(traversal, slot), folder / "dynamics_traversal.png"),
                save_gif(plates.traversal_frames(traversal, slot), folder / "dynamics_traversal.gif"),
            ),
        ),
    ]
