"""Extracts what a trained model sees in every frame of a data set: latents and dynamics, for question answering.

    python -m experiments.extract_latents --run=runs/reasoning --data=clevrer/64x96
    python -m experiments.extract_latents --export=FILE --data=NAME/CONFIG --split=validation --limit=100

Without options: the quickstart's run on the data that it was trained on. All frames of all videos of all splits, unless
options say otherwise. The same command goes on where it was stopped; files that are there are not made again, and those
made later are the same to the last byte.
"""

import argparse
import pathlib

from experiments import command_line
from experiments.runs import trained
from experiments.vqa import extraction, feature_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this program's options."""
    trained.add_arguments(parser)
    trained.add_data_arguments(parser)
    parser.add_argument("--stride", type=int, help="source frames that dynamics span (default: the run's)")
    parser.add_argument("--limit", type=int, help="only the first so many videos of a split (default: all)")
    parser.add_argument("--output", metavar="DIR", help="(default: DATA_DIR/features/MODEL/NAME-CONFIG)")
    parser.add_argument("--shard_size", type=int, help=f"videos a file (default: {extraction.SHARD_SIZE})")


def main(options: argparse.Namespace) -> None:
    """Extracts, and prints where the features are.

    Raises:
        FileNotFoundError, ValueError: the model, the data or an option is unusable.
    """
    for name in ("stride", "limit", "shard_size"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1, not {value}")
    found = trained.open_trained(options.run, options.export, options.step)
    data = trained.choose_data(found, options)
    data.stride = options.stride or data.stride
    folder = feature_files.default_folder(data.data_dir, found.name, f"{data.name}/{data.config}")
    folder = pathlib.Path(options.output) if options.output else folder
    splits = [options.split] if options.split else None
    numbers = extraction.extract(found, data, folder, splits, options.limit, options.shard_size)
    held = ", ".join(f"{number} {split}" for split, number in numbers.items())
    print(f"{folder}: features of {held} videos of {data.name}/{data.config} by {found.name}")


if __name__ == "__main__":
    command_line.run_tool(main, add_arguments)
