"""Pictures of what a trained model sees: input, reconstruction, slots, and predicted frames, one PNG a clip."""

import contextlib
import functools
import os
import pathlib
from typing import Any

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import oddn_jax
from data_pipelines import loaders
from experiments.config import TrainConfig, longest_clip
from experiments.datasets import frames_available, validation_selection
from experiments.logs import write_pictures

# Source: Okabe and Ito, Color Universal Design; told apart by colour-blind readers. Slots beyond these repeat, darker.
PALETTE = np.array(
    [
        (230, 159, 0),
        (86, 180, 233),
        (0, 158, 115),
        (240, 228, 66),
        (0, 114, 178),
        (213, 94, 0),
        (204, 121, 167),
        (0, 0, 0),
    ],
    np.uint8,
)
LABEL_WIDTH, HEADER_HEIGHT, GAP = 128, 22, 4  # pixels
TILE_HEIGHT = 96  # pixels, about; small images are enlarged by whole pixels


def written(workdir: pathlib.Path, step: int) -> bool:
    """Whether a run has figures of a step."""
    return any((workdir / "figures").glob(f"step_{step}_*.png"))


def write(
    config: TrainConfig, params: Any, step: int, dataset_dir: pathlib.Path, workdir: pathlib.Path
) -> list[pathlib.Path]:
    """Draws the first validation clips and returns the files, `workdir/figures/step_*_clip_*.png`; TensorBoard too."""
    observed = config.model.num_context_frames
    # Every video that is long enough to train on is long enough to draw.
    available = max(
        longest_clip(config), frames_available(loaders.dataset_summary(dataset_dir), config.data.stride)
    )
    num_frames = min(observed + config.model.num_rollout_steps, available)
    batches = loaders.evaluation_batches(
        dataset_dir,
        config.data.valid_split,
        num_frames=num_frames,
        stride=config.data.stride,
        batch_size=config.num_figure_clips,
        selection=validation_selection(config),
        limit=config.num_figure_clips,
    )
    with contextlib.closing(batches):
        batch = next(batches)

    decoded, future = jax.device_get(
        _see(oddn_jax.ODDN(config.model), jax.device_get(params), batch["video"])
    )
    folder = workdir / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for clip, video in enumerate(batch["video"]):
        seen, predicted = (type(decoded)(*(field[clip] for field in record)) for record in (decoded, future))
        paths.append(folder / f"step_{step}_clip_{clip:02}.png")
        temporary = paths[-1].with_suffix(".partial")
        draw_clip(video, seen, predicted).save(temporary, format="PNG")
        os.replace(temporary, paths[-1])
    write_pictures(workdir, step, paths)
    return paths


@functools.partial(jax.jit, static_argnums=0)
def _see(model: oddn_jax.ODDN, params: Any, video: jax.Array) -> tuple[oddn_jax.Decoded, oddn_jax.Decoded]:
    """What the model infers from all frames, and what it predicts from the first ones."""
    key, observed = jax.random.key(0), model.config.num_context_frames
    inferred = model.apply({"params": params}, video, key, method="infer", deterministic=True)
    num_steps = video.shape[1] - observed
    future = model.apply({"params": params}, video[:, :observed], key, num_steps=num_steps, method="rollout")
    return inferred.decoded, future.decoded


def draw_clip(video: np.ndarray, seen: oddn_jax.Decoded, predicted: oddn_jax.Decoded) -> Image.Image:
    """Draws one clip as rows of frames.

    Args:
        video: f32[t h w 3] in [0, 1].
        seen: what was inferred from each of its t frames.
        predicted: the frames that follow the first ones, up to the last.
    """
    observed = len(video) - len(predicted.reconstruction)
    before = [None] * observed
    rows = [
        ("input", video),
        ("reconstruction", seen.reconstruction),
        ("segmentation", color_segmentation(seen.slot_masks)),
        *((f"slot {slot + 1}", cut_out(seen, slot)) for slot in range(seen.slot_masks.shape[1])),
        (f"predicted from {observed}", [*before, *predicted.reconstruction]),
        ("its segmentation", [*before, *color_segmentation(predicted.slot_masks)]),
        ("its error x 4", [*before, *np.clip(4 * np.abs(predicted.reconstruction - video[observed:]), 0, 1)]),
    ]
    return _tile(rows, video.shape[1:3])


def color_segmentation(slot_masks: np.ndarray) -> np.ndarray:
    """The slot that explains each pixel best, as a colour: f32[t k h w 1] to f32[t h w 3]."""
    slot = slot_masks[..., 0].argmax(1)
    shade = 0.5 ** (slot // len(PALETTE))
    return PALETTE[slot % len(PALETTE)] / 255 * shade[..., None]


def cut_out(decoded: oddn_jax.Decoded, slot: int) -> np.ndarray:
    """What one slot draws where its mask lets it, on white: f32[t h w 3]."""
    mask = decoded.slot_masks[:, slot]
    return mask * decoded.slot_rgb[:, slot] + (1 - mask)


def _tile(rows: list, size: tuple[int, int]) -> Image.Image:
    scale = max(1, round(TILE_HEIGHT / size[0]))
    height, width = (side * scale for side in size)
    columns = len(rows[0][1])
    canvas_size = (LABEL_WIDTH + columns * (width + GAP), HEADER_HEIGHT + len(rows) * (height + GAP))
    canvas = Image.new("RGB", canvas_size, "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=13)
    for column in range(columns):
        left = LABEL_WIDTH + column * (width + GAP)
        pen.text((left, 3), f"frame {column + 1}", "black", font)
    for row, (label, frames) in enumerate(rows):
        top = HEADER_HEIGHT + row * (height + GAP)
        pen.text((4, top + height // 2 - 8), label, "black", font)
        for column, frame in enumerate(frames):
            if frame is not None:
                pixels = np.round(np.clip(frame, 0, 1) * 255).astype(np.uint8)
                tile = Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)
                canvas.paste(tile, (LABEL_WIDTH + column * (width + GAP), top))
    return canvas
