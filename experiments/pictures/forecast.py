"""Anyone's video, taken apart and continued: what the model makes of it, the pictures, the arrays."""

import pathlib
from typing import Any

import jax
import numpy as np
from PIL import Image

import oddn_jax
from data_pipelines.video import Footage
from data_pipelines.whole_files import whole_file
from experiments.machine import compiled
from experiments.pictures import analysis, plates
from experiments.pictures.analysis import Observation, centroids
from experiments.pictures.drawing import (
    MARKERS,
    Row,
    color_segmentation,
    draw_panels,
    draw_rows,
    label_axes,
    new_figure,
    plot_line,
    render,
    save_gif,
    save_png,
    slot_color,
)

CHUNK = 8  # frames inferred at a time
SHOWN = 10  # frames of a still picture


def understand(model: oddn_jax.VideoModel, params: Any, video: np.ndarray, num_steps: int) -> Observation:
    """Decomposes a video u8[t h w 3] and predicts the frames after it; slots in one order throughout.

    Returns:
        The observation; of a single frame without distillation, interaction and future.

    Raises:
        ValueError: the model predicts no frames.
    """
    background = analysis.has_background(model)
    if not analysis.has_dynamics(model):
        clip = video[None] / np.float32(255)
        seen = jax.device_get(analysis.observe(model, params, clip, num_steps))
        if seen.future is None:
            raise ValueError(
                f"{type(model).__name__} predicts no frames: draw it with `python -m experiments.figures`"
            )
        return analysis.align(jax.tree.map(lambda x: x[0], seen), len(video), background)
    latents, decoded = infer(model, params, video)
    if len(video) == 1:
        return Observation(latents, decoded, None, None, None)
    rest = jax.device_get(_continue(model, params, latents, num_steps))
    return analysis.align(Observation(latents, decoded, *rest), len(video), background)


def infer(model: oddn_jax.VideoModel, params: Any, video: np.ndarray) -> tuple[np.ndarray, oddn_jax.Decoded]:
    """Latents f32[t k l] and pictures of the slots of a video u8[t h w 3], as ODDN infers them, in its order."""
    parts, last = [], None
    for start in range(0, len(video), CHUNK):
        part = video[start : start + CHUNK]
        # Filled up, so that one compilation serves videos of any length.
        filled = np.resize(part, (CHUNK, *part.shape[1:])) / np.float32(255)
        *found, posterior = _infer(model, params, filled, last)
        if getattr(model.config, "num_tracking_steps", 0):
            last = jax.tree.map(lambda x: x[-1], posterior)
        parts.append(tuple(jax.device_get(found)))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(video)], *parts)


@compiled.jit(static_argnums=0)
def _infer(
    model: oddn_jax.VideoModel, params: Any, video: jax.Array, before: oddn_jax.Posterior | None
) -> tuple[jax.Array, oddn_jax.Decoded, oddn_jax.Posterior]:
    """With the same noise for every chunk, so that with `share_noise` slots go on from one to the next.

    Args:
        before: of the last frame of the chunk before, if the model tracks and there is one.
    """
    options = {} if before is None else {"before": before}
    inference = model.apply(
        model.to_variables(params),
        video,
        jax.random.key(0),
        deterministic=not model.config.sample_at_test,
        method="infer",
        **options,
    )
    return inference.latents, inference.decoded, inference.posterior


@compiled.jit(static_argnums=(0, 3))
def _continue(model: oddn_jax.VideoModel, params: Any, latents: jax.Array, num_steps: int):
    def call(*arguments, **options):
        return model.apply(model.to_variables(params), *arguments, **options)

    distillation = call(latents, method="distill")
    interaction = call(distillation.dynamics, latents[1:], method="interact")
    return distillation, interaction, call(latents, num_steps=num_steps, method="rollout")


def draw(video: np.ndarray, seen: Observation, folder: pathlib.Path) -> list[pathlib.Path]:
    """Draws the decomposition, the tracks and the prediction of a video f32[t h w 3]."""
    shown = np.unique(np.linspace(0, len(video) - 1, min(len(video), SHOWN)).round().astype(int))
    some = jax.tree.map(lambda x: x[shown], seen.decoded)
    paths = [save_png(plates.decomposition_strip(video[shown], some, None), folder / "decomposition.png")]
    if seen.future is None:
        return paths
    paths.append(
        save_gif(plates.decomposition_frames(video, seen.decoded), folder / "decomposition.gif", 200)
    )
    if seen.decoded.slot_masks is not None and seen.future.decoded.slot_masks is not None:
        paths.append(save_png(draw_tracks(video, seen), folder / "tracks.png"))
    return [
        *paths,
        save_png(draw_future(video, seen), folder / "prediction.png"),
        save_gif(future_frames(video, seen), folder / "prediction.gif", 200),
    ]


def draw_future(video: np.ndarray, seen: Observation) -> Image.Image:
    """The last seen frames, and the predicted ones after them."""
    last, future = min(len(video), 4), seen.future.decoded
    steps = len(future.reconstruction)
    blank = [None] * steps
    rows = [
        Row("input", [*video[-last:], *blank]),
        Row("model", [*seen.decoded.reconstruction[-last:], *future.reconstruction]),
    ]
    if future.slot_masks is not None:
        masks = np.concatenate([seen.decoded.slot_masks[-last:], future.slot_masks])
        rows.append(Row("segmentation", color_segmentation(masks)))
    headers = [f"t = {t + 1}" for t in range(len(video) - last, len(video))]
    return draw_rows(rows, headers + [f"+{step + 1} (predicted)" for step in range(steps)])


def future_frames(video: np.ndarray, seen: Observation) -> list[Image.Image]:
    """The whole video and the predicted frames after it, as an animation."""
    frames = []
    for decoded, inputs in ((seen.decoded, video), (seen.future.decoded, None)):
        pictures = {"model": decoded.reconstruction}
        if decoded.slot_masks is not None:
            pictures["segmentation"] = color_segmentation(decoded.slot_masks)
        for t in range(len(decoded.reconstruction)):
            title = (
                f"t = {t + 1} of {len(video)}, seen"
                if inputs is not None
                else f"predicted, {t + 1} after the end"
            )
            panels = {"input": None if inputs is None else inputs[t]}
            frames.append(draw_panels(panels | {name: shown[t] for name, shown in pictures.items()}, title))
    return frames


def draw_tracks(video: np.ndarray, seen: Observation) -> Image.Image:
    """The path of each slot's centre over the last frame: seen as a line, predicted as dots."""
    height, width = video.shape[1:3]
    figure = new_figure(560 * width / height + 130, 560)
    axes = figure.add_subplot()
    axes.imshow(video[-1] * 0.5 + 0.5, interpolation="nearest")
    before, after = centroids(seen.decoded.slot_masks), centroids(seen.future.decoded.slot_masks)
    for slot in range(before.shape[1]):
        plot_line(axes, *before[:, slot].T, slot, f"slot {slot + 1}", markersize=4)
        color, marker = np.array(slot_color(slot)) / 255, MARKERS[slot % len(MARKERS)]
        axes.scatter(*after[:, slot].T, s=90, color=color, marker=marker, edgecolors="0.2", zorder=3)
    label_axes(axes, "x (pixels)", "y (pixels)", "Centres of the slots; large marks are predicted")
    axes.grid(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return render(figure)


def write_arrays(footage: Footage, seen: Observation, path: pathlib.Path) -> pathlib.Path:
    """Writes what the program's description lists, whole or not at all, and returns the path."""
    arrays = {
        "video": footage.video,
        "source_frame": footage.source_frame,
        "latents": seen.latents,
        "reconstruction": seen.decoded.reconstruction,
        **_mask_arrays("", seen.decoded),
    }
    if seen.distillation is not None:
        arrays["dynamics"] = seen.distillation.dynamics
    if seen.future is not None:
        arrays |= {
            "predicted_latents": seen.future.latents,
            "predicted_frames": seen.future.decoded.reconstruction,
            **_mask_arrays("predicted_", seen.future.decoded),
        }
    arrays = {name: array for name, array in arrays.items() if array is not None}
    with whole_file(path) as partial, open(partial, "wb") as file:
        np.savez_compressed(file, **arrays)
    return path


def _mask_arrays(prefix: str, decoded: oddn_jax.Decoded) -> dict[str, np.ndarray]:
    if decoded.slot_masks is None:
        return {}
    return {
        f"{prefix}slot_masks": decoded.slot_masks[..., 0],
        f"{prefix}centroids": centroids(decoded.slot_masks).astype(np.float32),
    }
