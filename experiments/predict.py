"""Takes a video apart into objects, follows them, and predicts what comes next.

python -m experiments.predict --input=VIDEO.mp4|FOLDER|ANIMATION.gif --model=RUN|FILE|NAME

Without --input a fresh scene is simulated, without --model the bundled model is taken. Frames are cropped to their
centre, transparency becomes white. The output folder gets decomposition.png and .gif, tracks.png, prediction.png and
.gif, and predictions.npz with t seen and s predicted frames, k slots in the same order throughout:

  video                 u8[t h w 3]     what the model saw
  source_frame          i64[t]          which frames of the input these are, from 0
  latents               f32[t k l]      the slots
  slot_masks            f32[t k h w]    share of each pixel, sum 1 over slots
  reconstruction        f32[t h w 3]    in [0, 1]
  centroids             f32[t k 2]      centres of the masks, pixels, x then y
  dynamics              f32[t-1 k d]    distilled, of frames 2..t
  predicted_latents     f32[s k l]      as above, of the frames after the last one
  predicted_slot_masks  f32[s k h w]
  predicted_frames      f32[s h w 3]
  predicted_centroids   f32[s k 2]

A single frame has no motion: it is taken apart, and the last five arrays are missing. So is of any video what the model
does not have: without slots there are no latents, masks and centroids, without ODDN's distillation no dynamics.
"""

import argparse
import os
import pathlib
from typing import Any

import jax
import numpy as np
from PIL import Image

import oddn_jax
from experiments import analysis, command_line, compiled, plates
from experiments.analysis import Observation, centroids
from experiments.drawing import (
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
from experiments.footage import Footage, is_video_file, read_footage
from experiments.logs import say
from experiments.trained import BUNDLED, Trained, add_import_argument, open_trained

CHUNK = 8  # frames inferred at a time
SHOWN = 10  # frames of a still picture
SIMULATED_INDEX = 900_000  # of a scene that no data set has by default


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--input", type=pathlib.Path, help="a video file, an image, or a folder of images")
    parser.add_argument(
        "--model",
        default=BUNDLED,
        help="a run folder, an exported file, or the name of a bundled model (default: %(default)s, bundled)",
    )
    add_import_argument(parser)
    parser.add_argument("--output", type=pathlib.Path, help="a folder (default: runs/predict/NAME_OF_INPUT)")
    parser.add_argument("--num_steps", type=int, default=6, help="frames to predict (default: 6)")
    parser.add_argument("--start", type=int, default=0, help="the first frame, from 0 (default: 0)")
    parser.add_argument(
        "--stride", type=int, help="take every n-th frame (default: of videos as in training, of images 1)"
    )
    parser.add_argument("--num_frames", type=int, default=100, help="take so many at most (default: 100)")


def main(options: argparse.Namespace) -> None:
    """Reads, decomposes, predicts, and writes; the arrays last."""
    for name, least in (("num_steps", 1), ("start", 0), ("stride", 1), ("num_frames", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise ValueError(f"--{name}={value} must be at least {least}")
    trained = open_model(options.model)
    footage = read_input(trained, options)
    print(f"input: {footage.account}")
    output = options.output or pathlib.Path(
        "runs", "predict", options.input.stem if options.input else "simulated"
    )
    say("looking (the model is compiled first)")
    seen = understand(trained.model, trained.params, footage.video, options.num_steps)
    output.mkdir(parents=True, exist_ok=True)
    for picture in draw(footage.video / np.float32(255), seen, output):
        print(f"written: {picture}")
    print(f"written: {write_arrays(footage, seen, output / 'predictions.npz')}")
    if seen.future is None:
        print(
            "one frame shows no motion: nothing is predicted (of a short video --stride=1 takes more frames)"
        )


def open_model(name: str) -> Trained:
    """Opens a run folder, an exported file or a bundled model."""
    return open_trained(run=name) if os.path.isdir(name) else open_trained(export=name)


def read_input(trained: Trained, options: argparse.Namespace) -> Footage:
    """Reads the input at the model's size; simulates a scene where there is none."""
    height, width = trained.model.config.image_height, trained.model.config.image_width
    trained_stride = trained.data.stride if trained.data else 4
    if options.input:
        stride = options.stride or (trained_stride if is_video_file(options.input) else 1)
        chosen = dict(start=options.start, stride=stride, limit=options.num_frames)
        footage = read_footage(options.input, height, width, **chosen)
        return footage._replace(account=f"{options.input}, {footage.account}")
    from data_pipelines.simulator import CLEVRER, QUICKSTART, simulate_video, video_seed

    scenes = QUICKSTART if trained.data and trained.data.config.startswith("quickstart") else CLEVRER
    stride = options.stride or trained_stride
    video = simulate_video(
        scenes, video_seed(0, SIMULATED_INDEX), height=height, width=width, stride=stride
    ).video[options.start :][: options.num_frames]
    if not len(video):
        raise ValueError(f"--start={options.start} is behind the end of the simulated scene")
    frames = stride * (options.start + np.arange(len(video)))
    return Footage(video, frames, f"a simulated scene, {len(video)} frames of {width}x{height}")


def understand(model: oddn_jax.VideoModel, params: Any, video: np.ndarray, num_steps: int) -> Observation:
    """Decomposes a video u8[t h w 3] and predicts the frames after it; slots in one order throughout.

    Returns:
        The observation; of a single frame without distillation, interaction and future.

    Raises:
        ValueError: the model predicts no frames.
    """
    if not analysis.has_dynamics(model):
        clip = video[None] / np.float32(255)
        seen = jax.device_get(analysis.observe(model, params, clip, num_steps))
        if seen.future is None:
            raise ValueError(
                f"{type(model).__name__} predicts no frames: draw it with `python -m experiments.figures`"
            )
        return analysis.align(jax.tree.map(lambda x: x[0], seen), len(video))
    parts = []
    for start in range(0, len(video), CHUNK):
        part = video[start : start + CHUNK]
        # Filled up, so that one compilation serves videos of any length.
        filled = np.resize(part, (CHUNK, *part.shape[1:])) / np.float32(255)
        parts.append(jax.device_get(_infer(model, params, filled)))
    latents, decoded = jax.tree.map(lambda *parts: np.concatenate(parts)[: len(video)], *parts)
    if len(video) == 1:
        return Observation(latents, decoded, None, None, None)
    rest = jax.device_get(_continue(model, params, latents, num_steps))
    return analysis.align(Observation(latents, decoded, *rest), len(video))


@compiled.for_model(static_argnums=0)
def _infer(model: oddn_jax.VideoModel, params: Any, video: jax.Array) -> tuple[jax.Array, oddn_jax.Decoded]:
    """With the same noise for every chunk, so that with `share_noise` slots go on from one to the next."""
    key, deterministic = jax.random.key(0), not model.config.sample_at_test
    inference = model.apply(
        model.to_variables(params), video, key, deterministic=deterministic, method="infer"
    )
    return inference.latents, inference.decoded


@compiled.for_model(static_argnums=(0, 3))
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
    temporary = path.with_name(f"{path.name}.partial")
    with open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)
    os.replace(temporary, path)
    return path


def _mask_arrays(prefix: str, decoded: oddn_jax.Decoded) -> dict[str, np.ndarray]:
    if decoded.slot_masks is None:
        return {}
    return {
        f"{prefix}slot_masks": decoded.slot_masks[..., 0],
        f"{prefix}centroids": centroids(decoded.slot_masks).astype(np.float32),
    }


if __name__ == "__main__":
    command_line.run_tool(main, arguments)
