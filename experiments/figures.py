"""Draws the paper's figures of a trained model, and report.html with all of them and the metrics.

python -m experiments.figures --run=runs/quickstart
"""

import argparse
import pathlib
from typing import Any

from experiments import command_line
from experiments.pictures import analysis
from experiments.pictures.gallery import draw_clip, draw_dynamics, draw_errors, draw_relation, left_out
from experiments.pictures.observations import (
    find_clips,
    look,
)
from experiments.pictures.report import learning_curves, write_report
from experiments.runs.clips import RULES, SHOWN_RULES
from experiments.runs.logs import say
from experiments.runs.trained import add_arguments, add_data_arguments, open_trained
from oddn_jax.records import parse_record


def arguments(parser: argparse.ArgumentParser) -> None:
    add_arguments(parser)
    add_data_arguments(parser)
    parser.add_argument("--clips", choices=RULES, help="(default: paper, or first without any)")
    parser.add_argument("--num_clips", type=int, default=2, help="clips drawn (default: 2)")
    parser.add_argument(
        "--num_scored_clips",
        type=int,
        default=32,
        help="clips behind the error curve, where metrics.json has none (default: 32)",
    )
    parser.add_argument(
        "--output", metavar="DIR", type=pathlib.Path, help="for figures/ and report.html (default: the run)"
    )


def main(options: argparse.Namespace) -> None:
    """Draws, and writes the report last."""
    if min(options.num_clips, options.num_scored_clips) < 1:
        raise ValueError("--num_clips and --num_scored_clips must be at least 1")
    trained = open_trained(options.run, options.export, options.step)
    source = find_clips(trained, options)
    run = pathlib.Path(trained.name)
    output = options.output or (run if run.is_dir() else pathlib.Path("runs", f"figures-{run.stem}"))
    folder = output / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    metrics = read_metrics(output / "metrics.json", run / "metrics.json", run.with_suffix(".metrics.json"))

    say("looking at the clips (the first ones take longest: the model is compiled)")
    clips, errors, spread = look(trained, source, options.num_clips, options.num_scored_clips)
    say("drawing")
    pictures = []
    for number, clip in enumerate(clips):
        pictures += draw_clip(clip, folder, number)
    if errors:
        pictures.append(draw_errors(trained, source, errors, metrics, folder))
    if analysis.has_dynamics(trained.model):
        pictures += [
            draw_relation(trained, source, clips, folder),
            *draw_dynamics(trained, clips, spread, folder),
        ]
    pictures += filter(None, [learning_curves(run, folder)])
    facts = {
        "model": trained.name,
        "system": type(trained.model).__name__,
        "trained on": None if trained.data is None else f"{trained.data.name}/{trained.data.config}",
        "shown": f"{source.name}, split {source.split}, stride {source.stride} source frames; "
        f"clips: {SHOWN_RULES[source.rule]}",
        "simulated": source.simulated,
        **{name: trained.provenance.get(name) for name in ("step", "seed", "commit", "devices", "packages")},
    }
    if missing := left_out(trained, clips[0]):
        facts["left out"] = missing
        say(f"left out: {missing}")
    write_report(output / "report.html", facts, pictures, metrics)
    print(f"{len(pictures)} figures in {folder}\nthe report: {output / 'report.html'}")


def read_metrics(*paths: pathlib.Path) -> dict[str, Any]:
    """Reads the first of some files that is there, as evaluate.py writes it; nothing where none can be read."""
    for path in paths:
        try:
            return parse_record(path.read_bytes(), constant=float)
        except OSError:
            continue
        except ValueError:
            say(f"going on without {path}, which is broken")
    return {}


if __name__ == "__main__":
    command_line.run_tool(main, arguments)
