"""What a run says: metrics.jsonl and TensorBoard for programs, a progress bar or plain lines for people."""

import json
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence

import jax
import numpy as np
import tensorboardX
import tqdm
from PIL import Image

# What people see of a step; metrics.jsonl and TensorBoard hold everything.
HEADLINES = (
    "loss",
    "mse",
    "mse_predicted",
    "mse_copy_last",
    "mask_entropy",
    "slot_usage",
    "gradient_norm",
    "images_per_second",
)


def say(text: str) -> None:
    """Prints a line on stderr, above the progress bar if there is one; in several processes only the first speaks."""
    if jax.process_index() == 0:
        tqdm.tqdm.write(text, file=sys.stderr)
        sys.stderr.flush()


class MetricLog:
    """Writes the metrics of a run, and shows its progress."""

    def __init__(self, workdir: pathlib.Path, start_step: int, num_steps: int):
        """Opens the logs of a run that goes on from `start_step`: what it wrote about later steps is dropped."""
        self._num_steps = num_steps
        self._file = self._tensorboard = None
        is_first = jax.process_index() == 0
        if is_first:
            _drop_after(workdir / "metrics.jsonl", start_step)
            self._file = open(workdir / "metrics.jsonl", "a", buffering=1)
            self._tensorboard = tensorboardX.SummaryWriter(
                str(workdir / "tensorboard"), purge_step=start_step + 1
            )
        self._bar = tqdm.tqdm(
            total=num_steps,
            initial=start_step,
            desc="training",
            unit="step",
            bar_format="{desc} {n_fmt}/{total_fmt} |{bar:24}| {elapsed}{postfix}",
            disable=not (is_first and sys.stderr.isatty()),
        )

    def advance(self) -> None:
        """Counts one step on the progress bar."""
        self._bar.update()

    def write(
        self, step: int, split: str, metrics: Mapping[str, float], seconds_left: float | None = None
    ) -> None:
        """Records the metrics of a step.

        Args:
            split: "train" or "valid".
            seconds_left: the estimate that people see.
        """
        if self._file is None:
            return
        self._file.write(json.dumps({"step": step, "split": split, **metrics}) + "\n")
        for name, value in metrics.items():
            self._tensorboard.add_scalar(f"{split}/{name}", value, step)
        left = "" if seconds_left is None else f", {_duration(seconds_left)} left"
        if split == "train" and not self._bar.disable:
            rate = metrics["images_per_second"]
            self._bar.set_postfix_str(f"loss {metrics['loss']:.5g}, {rate:.3g} images/s{left}")
        else:
            values = ", ".join(f"{name} {metrics[name]:.4g}" for name in HEADLINES if name in metrics)
            say(f"{split} step {step}/{self._num_steps}: {values}{left}")

    def close(self) -> None:
        """Ends the bar and closes the files."""
        self._bar.close()
        if self._file is not None:
            self._file.close()
            self._tensorboard.close()


def write_pictures(workdir: pathlib.Path, step: int, paths: Sequence[pathlib.Path]) -> None:
    """Shows pictures in TensorBoard, by the names of their files."""
    # A suffix, because writers opened within a second would write to one file.
    suffix = f".figures_{step}"
    with tensorboardX.SummaryWriter(str(workdir / "tensorboard"), filename_suffix=suffix) as tensorboard:
        for path in paths:
            with Image.open(path) as picture:
                tensorboard.add_image(path.stem, np.asarray(picture), step, dataformats="HWC")


def _drop_after(path: pathlib.Path, step: int) -> None:
    """Drops the lines about later steps, and a last line that was cut short, so that no step is told twice."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except ValueError:
            break  # cut short when the run was killed
    temporary = path.with_name(f"{path.name}.partial")
    temporary.write_text("".join(kept))
    os.replace(temporary, path)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"
