"""Writes simulated videos in the formats of the real data sets.

    python -m data_pipelines.simulator clevrer --output=data/raw/clevrer --split=train --num_videos=100 --jobs=2
    python -m data_pipelines.simulator towers --output=data/raw/blocks_real --num_videos=493 --jobs=2

Started again with the same arguments, it goes on where it was interrupted.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

from data_pipelines.simulator.clevrer_files import SPLITS, ClevrerWriter
from data_pipelines.simulator.config import CLEVRER, QUICKSTART, SIX_OBJECTS, TOWERS, simulator_card
from data_pipelines.simulator.generate import Summary, generate
from data_pipelines.simulator.tower_files import TowerWriter

SCENES = {"clevrer": CLEVRER, "six_objects": SIX_OBJECTS, "quickstart": QUICKSTART}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        self.exit(2, f"{self.prog}: {message} (--help lists the options)\n")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        summary = options.run(options)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(_sentence(summary, options.output))
    return 0


def write_clevrer(options: argparse.Namespace) -> Summary:
    """Writes videos, annotations and proposals of one split."""
    config = SCENES[options.scenes]
    split = SPLITS[options.split]
    first = split.start if options.first_index is None else options.first_index
    indices = range(first, first + options.num_videos)
    if indices and (indices[0] not in split or indices[-1] not in split):
        raise ValueError(
            f"the {options.split} split holds indices {split[0]} to {split[-1]}; "
            f"asked for {indices[0]} to {indices[-1]}"
        )
    drawing = {
        "seed": options.seed,
        "height": options.height,
        "width": options.width,
        "num_frames": config.num_frames if options.num_frames is None else options.num_frames,
        "supersampling": options.supersampling,
    }
    writer = ClevrerWriter(root=options.output, split=options.split, config=config, **drawing)
    return generate(writer, simulator_card(config, **drawing), indices, options.jobs)


def write_towers(options: argparse.Namespace) -> Summary:
    """Writes strips, masks and the table of block towers."""
    drawing = {
        "seed": options.seed,
        "size": options.size,
        "num_frames": TOWERS.num_frames if options.num_frames is None else options.num_frames,
        "supersampling": options.supersampling,
    }
    writer = TowerWriter(root=options.output, config=TOWERS, **drawing)
    return generate(writer, simulator_card(TOWERS, **drawing), range(1, options.num_videos + 1), options.jobs)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m data_pipelines.simulator",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="clevrer|towers")

    clevrer = commands.add_parser("clevrer", help="CLEVRER's tree: mp4, annotations, object proposals")
    clevrer.add_argument("--split", choices=SPLITS, default="train", help="default: train")
    clevrer.add_argument("--first_index", type=int, help="of the videos to write; default: the split's first")
    clevrer.add_argument("--scenes", choices=SCENES, default="clevrer", help="default: clevrer")
    clevrer.add_argument("--height", type=int, default=320, help="pixels, for quick looks; default: 320")
    clevrer.add_argument("--width", type=int, default=480, help="pixels, for quick looks; default: 480")
    clevrer.set_defaults(run=write_clevrer)

    towers = commands.add_parser("towers", help="the real block towers' strips of frames")
    towers.add_argument("--size", type=int, default=224, help="pixels, for quick looks; default: 224")
    towers.set_defaults(run=write_towers)

    for command in (clevrer, towers):
        command.add_argument("--output", type=Path, required=True, help="folder; made if missing")
        command.add_argument("--num_videos", type=int, default=10, help="default: 10")
        command.add_argument("--seed", type=int, default=0, help="at least 0; default: 0")
        command.add_argument(
            "--jobs", type=int, default=os.cpu_count() or 1, help="processes; default: all cores"
        )
        command.add_argument("--num_frames", type=int, help="of each video, for quick looks; default: all")
        command.add_argument(
            "--supersampling", type=int, default=2, help="rays per pixel, squared; default: 2"
        )
    return parser


def _sentence(summary: Summary, output: Path) -> str:
    text = f"{output}: {summary.written} videos written, {summary.skipped} already there"
    if summary.written:
        text += f", {summary.size / 1e6:.1f} MB, {summary.seconds / summary.written:.2f} s per video"
    return text


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    sys.exit(main())
