"""Writes simulated videos, and questions about them, in the formats of the real data sets.

    python -m data_pipelines.simulator clevrer --output=data/raw/clevrer --split=train --num_videos=100 --jobs=2
    python -m data_pipelines.simulator questions --output=data/raw/clevrer --split=train --num_videos=100 --jobs=2
    python -m data_pipelines.simulator towers --output=data/raw/blocks_real --num_videos=493 --jobs=2

Started again with the same arguments, it goes on where it was interrupted. Questions need no videos: the same scenes,
seed and indices are the same scenes.
"""

import argparse
import signal
import sys
from pathlib import Path

from data_pipelines.claims import claim
from data_pipelines.command_line import Parser, exit_code
from data_pipelines.home import expand_arguments
from data_pipelines.parallel import default_jobs
from data_pipelines.seeds import parse_seed
from data_pipelines.simulator.clevrer_files import SPLITS, ClevrerWriter
from data_pipelines.simulator.config import (
    CLEVRER,
    QUICKSTART,
    QUICKSTART_LONG,
    SIX_OBJECTS,
    TOWERS,
    simulator_card,
)
from data_pipelines.simulator.generate import Summary, generate
from data_pipelines.simulator.questions.files import TruthWriter, check_videos, write_questions
from data_pipelines.simulator.tower_files import TowerWriter

SCENES = {
    "clevrer": CLEVRER,
    "six_objects": SIX_OBJECTS,
    "quickstart": QUICKSTART,
    "quickstart_long": QUICKSTART_LONG,
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""

    def body():
        options = _parser().parse_args(expand_arguments(sys.argv[1:] if arguments is None else arguments))
        sentence = options.run(options)
        print(f"{options.output}: {sentence}")

    return exit_code(body, lambda: "simulator")


def write_clevrer(options: argparse.Namespace) -> str:
    """Writes videos, annotations and proposals of one split."""
    config, indices = SCENES[options.scenes], _indices(options)
    drawing = {
        "seed": options.seed,
        "height": options.height,
        "width": options.width,
        "num_frames": config.num_frames if options.num_frames is None else options.num_frames,
        "supersampling": options.supersampling,
    }
    writer = ClevrerWriter(root=options.output, split=options.split, config=config, **drawing)
    return _sentence(generate(writer, simulator_card(config, **drawing), indices, options.jobs), "videos")


def write_clevrer_questions(options: argparse.Namespace) -> str:
    """Writes the question file of one split, and the truths of its scenes."""
    config, indices = SCENES[options.scenes], _indices(options)
    card = simulator_card(config, seed=options.seed)
    check_videos(options.output, card["config"], options.seed)
    writer = TruthWriter(options.output / "questions", options.split, config, options.seed)
    summary = generate(writer, card, indices, options.jobs)
    num_questions = write_questions(writer, indices)
    return f"{num_questions} questions about {len(indices)} videos; {_sentence(summary, 'truths')}"


def write_towers(options: argparse.Namespace) -> str:
    """Writes strips, masks and the table of block towers."""
    drawing = {
        "seed": options.seed,
        "size": options.size,
        "num_frames": TOWERS.num_frames if options.num_frames is None else options.num_frames,
        "supersampling": options.supersampling,
    }
    writer = TowerWriter(root=options.output, config=TOWERS, **drawing)
    indices = range(1, options.num_videos + 1)
    with claim(options.output):  # its table has a line for every tower
        summary = generate(writer, simulator_card(TOWERS, **drawing), indices, options.jobs)
    return _sentence(summary, "videos")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m data_pipelines.simulator",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="clevrer|towers|questions")

    clevrer = commands.add_parser("clevrer", help="CLEVRER's tree: mp4, annotations, object proposals")
    clevrer.add_argument("--height", type=int, default=320, help="pixels, for quick looks; default: 320")
    clevrer.add_argument("--width", type=int, default=480, help="pixels, for quick looks; default: 480")
    clevrer.set_defaults(run=write_clevrer)

    questions = commands.add_parser("questions", help="CLEVRER's question files, with programs and answers")
    questions.set_defaults(run=write_clevrer_questions)

    for command in (clevrer, questions):
        command.add_argument("--split", choices=SPLITS, default="train", help="default: train")
        command.add_argument("--first_index", type=int, help="of the videos; default: the split's first")
        command.add_argument("--scenes", choices=SCENES, default="clevrer", help="default: clevrer")

    towers = commands.add_parser("towers", help="the real block towers' strips of frames")
    towers.add_argument("--size", type=int, default=224, help="pixels, for quick looks; default: 224")
    towers.set_defaults(run=write_towers)

    for command in (clevrer, questions, towers):
        command.add_argument("--output", type=Path, required=True, help="folder; made if missing")
        command.add_argument("--num_videos", type=int, default=10, help="default: 10")
        command.add_argument("--seed", type=parse_seed, default=0, help="0 to 4294967295; default: 0")
        command.add_argument(
            "--jobs", type=int, default=default_jobs(), help="processes; default: all cores it may use"
        )
    for command in (clevrer, towers):
        command.add_argument("--num_frames", type=int, help="of each video, for quick looks; default: all")
        command.add_argument(
            "--supersampling", type=int, default=2, help="rays per pixel, squared; default: 2"
        )
    return parser


def _indices(options: argparse.Namespace) -> range:
    split = SPLITS[options.split]
    first = split.start if options.first_index is None else options.first_index
    indices = range(first, first + options.num_videos)
    if indices and (indices[0] not in split or indices[-1] not in split):
        raise ValueError(
            f"the {options.split} split holds indices {split[0]} to {split[-1]}; "
            f"asked for {indices[0]} to {indices[-1]}"
        )
    return indices


def _sentence(summary: Summary, things: str) -> str:
    text = f"{summary.written} {things} written, {summary.skipped} already there"
    if summary.written:
        text += f", {summary.size / 1e6:.1f} MB, {summary.seconds / summary.written:.2f} s per video"
    return text


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    sys.exit(main())
