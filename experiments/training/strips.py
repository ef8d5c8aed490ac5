"""Pictures of a run while it trains: input, reconstruction, slots, and predicted frames, one PNG a clip."""

import contextlib
import pathlib
from typing import Any

import jax
import numpy as np
from PIL import Image

import oddn_jax
from data_pipelines import loaders
from experiments.config import TrainConfig, longest_clip, make_model
from experiments.pictures.analysis import align, observe
from experiments.pictures.drawing import (
    Row,
    color_segmentation,
    draw_rows,
    prediction_rows,
    save_png,
    slot_rows,
)
from experiments.runs.datasets import frames_available, validation_selection
from experiments.runs.logs import write_pictures


def written(workdir: pathlib.Path, step: int) -> bool:
    """Whether a run has pictures of a step."""
    return any((workdir / "figures").glob(f"step_{step}_*.png"))


def write(
    config: TrainConfig, params: Any, step: int, dataset_dir: pathlib.Path, workdir: pathlib.Path
) -> list[pathlib.Path]:
    """Draws the first validation clips and returns the files, `workdir/figures/step_*_clip_*.png`; TensorBoard too."""
    model = make_model(config)
    observed = model.num_context_frames
    # Every video that is long enough to train on is long enough to draw.
    summary = loaders.dataset_summary(dataset_dir, config.data.valid_split)
    available = max(longest_clip(config), frames_available(summary, config.data.stride))
    num_frames = min(observed + model.num_rollout_steps, available)
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
        videos = next(batches)["video"]

    observations = jax.device_get(observe(model, jax.device_get(params), videos))
    folder = workdir / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for clip, video in enumerate(videos):
        observation = align(jax.tree.map(lambda x, clip=clip: x[clip], observations), observed)
        picture = draw_clip(video, observation.decoded, observation.future and observation.future.decoded)
        paths.append(save_png(picture, folder / f"step_{step}_clip_{clip:02}.png"))
    write_pictures(workdir, step, paths)
    return paths


def draw_clip(video: np.ndarray, seen: oddn_jax.Decoded, predicted: oddn_jax.Decoded | None) -> Image.Image:
    """Draws one clip as rows of frames; what the model does not have is left out.

    Args:
        video: f32[t h w 3] in [0, 1].
        seen: what was inferred from each of its t frames.
        predicted: the frames that follow the first ones, up to the last.
    """
    rows = [Row("input", video)]
    if seen.reconstruction is not None:
        rows.append(Row("reconstruction", seen.reconstruction))
    if seen.slot_masks is not None:
        rows += [Row("segmentation", color_segmentation(seen.slot_masks)), *slot_rows(seen)]
    if predicted is not None:
        observed = len(video) - len(predicted.reconstruction)
        rows += prediction_rows(video, predicted, f"predicted from {observed}")
    return draw_rows(rows, [f"frame {frame + 1}" for frame in range(len(video))])
