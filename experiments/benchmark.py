"""Measures how fast a preset runs here: the model, the ceiling that this machine sets, growth, and the data.

    python -m experiments.benchmark
    python -m experiments.benchmark --preset=prediction --batch_size=12 --num_frames=8 --compute_dtype=bfloat16
    python -m experiments.benchmark --baseline=provide,quickstart
    python -m experiments.benchmark --parts=model,growth,data --json

Without options: the quickstart preset with its own batch, without `growth`, which compiles four more training steps.
A table goes to stdout (--json: the record; --output keeps it). Times are medians of interleaved repetitions, each a
whole call that is waited for. GFLOP are counted by `experiments.cost`, from the formulas of matrix products and
convolutions; the ceiling is what one 3x3 convolution of the decoder, forward and backward, reaches alone, in the same
repetitions, in the better of two layouts.
"""

import argparse
import contextlib
import json
import pathlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from data_pipelines import build, loaders
from data_pipelines.datasets import dataset_path
from data_pipelines.simulator.clevrer_files import write_mp4
from data_pipelines.video import read_video
from experiments import command_line, runs
from experiments.config import TrainConfig
from experiments.configs import baselines, clevrer
from experiments.speed import measure_growth, measure_model
from oddn_jax.config import CHOICES, PRESETS

PARTS = ("model", "growth", "data")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this program's options."""
    parser.add_argument(
        "--preset", choices=list(PRESETS), default="quickstart", help="(default: %(default)s)"
    )
    parser.add_argument("--baseline", metavar="VARIANT", help="of configs/baselines.py, instead of a preset")
    parser.add_argument("--batch_size", type=int, help="clips (default: the preset's own)")
    parser.add_argument("--num_frames", type=int, help="frames of a clip (default: the most it trains with)")
    parser.add_argument("--compute_dtype", choices=CHOICES["compute_dtype"], default="float32")
    parser.add_argument("--remat", choices=CHOICES["remat"], default="none")
    parser.add_argument(
        "--repeats", type=int, default=7, help="calls of each function (default: %(default)s)"
    )
    parser.add_argument("--parts", default="model,data", help="of model, growth, data (default: %(default)s)")
    parser.add_argument(
        "--output", metavar="FILE", type=pathlib.Path, help="writes the record there, as JSON"
    )
    parser.add_argument("--json", action="store_true", help="print the record, not tables")


def main(options: argparse.Namespace) -> None:
    """Measures, and prints.

    Raises:
        ValueError: an option is out of its range.
    """
    parts = options.parts.split(",")
    for part in parts:
        if part not in PARTS:
            raise ValueError(f"--parts: {part!r} is not one of {', '.join(PARTS)}")
    config = train_config(options)
    if options.repeats < 1:
        raise ValueError(f"--repeats is {options.repeats}: it must be at least 1")
    if options.output and not options.output.parent.is_dir():
        raise FileNotFoundError(f"--output: there is no folder {options.output.parent}")
    record: dict[str, Any] = {
        "preset": options.baseline or options.preset,
        "batch_size": config.batch_size,
        "num_frames": config.curriculum[-1][1],
        "compute_dtype": getattr(config.model, "compute_dtype", "float32"),
        "remat": getattr(config.model, "remat", "none"),
        **runs.versions(),
    }
    if "model" in parts:
        record |= measure_model(config, options.repeats)
    if "growth" in parts:
        record["growth"] = measure_growth(config, options.repeats)
    if "data" in parts:
        record["data"] = measure_data(config, record.get("model", {}).get("training step", {}).get("seconds"))
    if options.output:
        runs.write_json(options.output, record)
    print(json.dumps(record, indent=2) if options.json else table(record))


def train_config(options: argparse.Namespace) -> TrainConfig:
    """The preset's training with the options' sizes.

    Raises:
        ValueError: a size is out of its range.
    """
    config = (baselines if options.baseline else clevrer).get_config(options.baseline or options.preset)
    for name in ("compute_dtype", "remat"):
        if hasattr(config.model, name):
            setattr(config.model, name, getattr(options, name))
    if options.batch_size is not None:
        config.batch_size = options.batch_size
    if options.num_frames is not None:
        config.curriculum = ((1.0, options.num_frames),)
    if config.batch_size < 1 or config.curriculum[-1][1] < 3:
        raise ValueError(
            "--batch_size must be at least 1, and --num_frames at least 3 (two observed, one predicted)"
        )
    return config


def measure_data(config: TrainConfig, step_seconds: float | None) -> dict[str, Any]:
    """Rates of the simulator, the video reader and the loader, on a few simulated videos of the preset's size.

    Args:
        step_seconds: of a training step; the loader's share of it is then told.
    """
    model, num_frames = config.model, config.curriculum[-1][1]
    with tempfile.TemporaryDirectory() as folder:
        options = dict(height=model.image_height, width=model.image_width, num_train=8, num_validation=1)
        options |= dict(scenes="quickstart", stride=4)
        name = build.make_config("simulated_clevrer", **options).name
        with _seconds() as simulating:
            build.build("simulated_clevrer", build.make_config("simulated_clevrer", **options), folder)
        video = pathlib.Path(folder, "video.mp4")
        frames = np.random.default_rng(0).integers(0, 256, (128, 320, 480, 3), np.uint8)
        write_mp4(video, np.repeat(frames[:8], 16, axis=0))
        with _seconds() as decoding:
            read_video(video, model.image_height, model.image_width, crop=True)
        batches = loaders.training_batches(
            dataset_path("simulated_clevrer", name, folder),
            "train",
            num_frames=min(num_frames, 10),
            stride=4,
            batch_size=config.batch_size,
            seed=0,
        )
        with contextlib.closing(batches):
            next(batches)  # the threads start
            with _seconds() as loading:
                for _ in range(20):
                    next(batches)
    rates = {
        "simulated_videos_per_second": 9 / simulating[0],
        "decoded_frames_per_second": 128 / decoding[0],
        "loaded_frames_per_second": 20 * config.batch_size * min(num_frames, 10) / loading[0],
    }
    if step_seconds:
        rates["loader_share_of_a_training_step"] = loading[0] / 20 / step_seconds
    return rates


@contextlib.contextmanager
def _seconds() -> Iterator[list[float]]:
    spent: list[float] = []
    began = time.perf_counter()
    yield spent
    spent.append(time.perf_counter() - began)


def table(record: Mapping[str, Any]) -> str:
    """The record as text."""
    lines = [
        f"{record['preset']}: {record['batch_size']} clips of {record['num_frames']} frames, "
        f"{record['compute_dtype']}, remat {record['remat']}, {record['devices']}, jax {record['packages']['jax']}"
    ]
    if "model" in record:
        lines += [
            "",
            f"{'':<16}{'ms':>10}{'images/s':>10}{'GFLOP':>10}{'GFLOP/s':>10}{'ceiling':>9}{'compile s':>11}{'MB':>8}",
        ]
        for name, row in record["model"].items():
            megabytes = "-" if row["bytes"] is None else f"{row['bytes'] / 1e6:.0f}"
            lines.append(
                f"{name:<16}{1e3 * row['seconds']:>10.1f}{row['images_per_second']:>10.1f}{row['gflop']:>10.2f}"
                f"{row['gflop_per_second']:>10.1f}{row['share_of_ceiling']:>9.0%}{row['compile_seconds']:>11.1f}"
                f"{megabytes:>8}"
            )
        best = ", ".join(f"{layout} {rate:.1f}" for layout, rate in record["ceiling"].items())
        lines.append(
            f"ceiling, one convolution forward and backward: {best} GFLOP/s; peak {record['peak_bytes'] / 1e9:.2f} GB"
        )
    if "growth" in record:
        lines += ["", "a training step grows with the power of"]
        for name, row in record["growth"].items():
            if name != "once":
                lines.append(
                    f"  {name:<18}{row['exponent']:>6.2f}   (its GFLOP with {row['exponent_of_gflop']:.2f})"
                )
    if "data" in record:
        lines += [
            "",
            *(f"{name.replace('_', ' '):<34}{rate:>10.3g}" for name, rate in record["data"].items()),
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    command_line.run_tool(main, add_arguments)
