"""Measures how fast a preset runs here: the model, the ceiling that the machine sets, layers, growth, and the data.

    python -m experiments.benchmark
    python -m experiments.benchmark --preset=prediction --batch_size=12 --num_frames=8 --compute_dtype=bfloat16
    python -m experiments.benchmark --baseline=provide,quickstart
    python -m experiments.benchmark --parts=model,growth,data --json

Without options: the quickstart preset with its own batch, without `growth`, which compiles four more training steps,
and `layers`, which asks each library of XLA on the CPU for each pass of each kind of convolution.
A table goes to stdout (--json: the record; --output keeps it). Times are medians of interleaved repetitions, each a
whole call that is waited for. GFLOP are counted by `experiments.measuring.cost`, from the formulas of products and
convolutions; the ceiling is what one 3x3 convolution of the decoder, forward and backward, reaches alone, in the same
repetitions, in the better of two layouts.
"""

import argparse
import json
import pathlib
from typing import Any

from data_pipelines.whole_files import check_output
from experiments import command_line
from experiments.config import TrainConfig
from experiments.configs import baselines, clevrer
from experiments.machine import fitting
from experiments.measuring.layers import measure_layers
from experiments.measuring.speed import measure_growth, measure_model
from experiments.measuring.tables import table
from experiments.measuring.throughput import measure_data
from experiments.runs import run_folder
from oddn_jax.config import CHOICES, PRESETS

PARTS = ("model", "layers", "growth", "data")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this program's options."""
    parser.add_argument(
        "--preset", choices=list(PRESETS), default="quickstart", help="(default: %(default)s)"
    )
    parser.add_argument("--baseline", metavar="VARIANT", help="of configs/baselines.py, instead of a preset")
    parser.add_argument("--batch_size", type=int, help="clips (default: the preset's own)")
    parser.add_argument("--num_frames", type=int, help="frames of a clip (default: the most it trains with)")
    parser.add_argument("--compute_dtype", choices=CHOICES["compute_dtype"], default="float32")
    parser.add_argument("--remat", choices=CHOICES["remat"], default="auto")
    parser.add_argument(
        "--repeats", type=int, default=7, help="calls of each function (default: %(default)s)"
    )
    parser.add_argument(
        "--parts", default="model,data", help="of model, layers, growth, data (default: %(default)s)"
    )
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
    if options.output:
        check_output(options.output, "--output")
    record: dict[str, Any] = {
        "preset": options.baseline or options.preset,
        "batch_size": config.batch_size,
        "num_frames": config.curriculum[-1][1],
        "compute_dtype": getattr(config.model, "compute_dtype", "float32"),
        "remat": fitting.chosen(config.model).get("remat", "none"),
        **run_folder.versions(),
    }
    if "model" in parts:
        record |= measure_model(config, options.repeats)
    if "layers" in parts:
        record["layers"] = measure_layers(config, options.repeats)
    if "growth" in parts:
        record["growth"] = measure_growth(config, options.repeats)
    if "data" in parts:
        record["data"] = measure_data(config, record.get("model", {}).get("training step", {}).get("seconds"))
    if options.output:
        run_folder.write_json(options.output, record)
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


if __name__ == "__main__":
    command_line.run_tool(main, add_arguments)
