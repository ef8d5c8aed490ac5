"""Takes a video apart into objects, follows them, and predicts what comes next.

python -m experiments.predict --input=VIDEO.mp4|FOLDER|ANIMATION.gif --model=RUN|FILE|NAME

Without --input a fresh scene is simulated, without --model the bundled model of CLEVRER's scenes is taken. Frames are
shown as their file says and cropped to their centre. The output folder gets decomposition.png and .gif, tracks.png,
prediction.png and .gif, and predictions.npz with t seen and s predicted frames, k slots in the same order throughout:

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
import pathlib

import numpy as np

from experiments import command_line
from experiments.pictures.forecast import draw, understand, write_arrays
from experiments.runs.logs import say
from experiments.runs.scenes import name_of, show
from experiments.runs.trained import add_model_argument, open_named
from oddn_jax.inputs import MOST_PREDICTED


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--input", type=pathlib.Path, help="a video file, an image, or a folder of images")
    # Whose videos are like CLEVRER's: people's own are more like these than like the quickstart's few large objects.
    add_model_argument(parser, default="clevrer")
    parser.add_argument("--output", type=pathlib.Path, help="a folder (default: runs/predict/NAME_OF_INPUT)")
    parser.add_argument("--num_steps", type=int, default=6, help="frames to predict (default: 6)")
    parser.add_argument("--start", type=int, default=0, help="the first frame, from 0 (default: 0)")
    parser.add_argument(
        "--stride", type=int, help="take every n-th frame (default: of videos as in training, of images 1)"
    )
    parser.add_argument("--num_frames", type=int, default=100, help="take so many at most (default: 100)")


def main(options: argparse.Namespace) -> None:
    """Reads, decomposes, predicts, writes, and says what it has written."""
    for name, least in (("num_steps", 1), ("start", 0), ("stride", 1), ("num_frames", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise ValueError(f"--{name}={value} must be at least {least}")
    if options.num_steps > MOST_PREDICTED:
        raise ValueError(f"--num_steps={options.num_steps} must be at most {MOST_PREDICTED}")
    trained = open_named(options.model)
    footage = show(trained, options.input, options.start, options.stride, options.num_frames)
    output = options.output or pathlib.Path("runs", "predict", name_of(options.input))
    say("looking (the model is compiled first)")
    seen = understand(trained.model, trained.params, footage.video, options.num_steps)
    output.mkdir(parents=True, exist_ok=True)
    arrays = write_arrays(footage, seen, output / "predictions.npz")
    pictures = draw(footage.video / np.float32(255), seen, output)
    print(f"input: {footage.account}")
    for path in (*pictures, arrays):
        print(f"written: {path}")
    if seen.future is None:
        print(
            "one frame shows no motion: nothing is predicted (of a short video --stride=1 takes more frames)"
        )


if __name__ == "__main__":
    command_line.run_tool(main, arguments)
