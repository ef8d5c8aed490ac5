"""Trains the dynamics of a model anew, on the latents that it sees in whole videos, and writes the model to a file.

    python -m experiments.train_dynamics
    python -m experiments.train_dynamics --export=clevrer --limit=400 --output=clevrer_dynamics.safetensors
    python -m experiments.train_dynamics --run=runs/k7 --without_relation

Without options: the quickstart's run, on a clip of each video that it was trained on. The latents are extracted first,
as extract_latents does, and kept; then nothing is inferred and decoded any more, and thousands of steps take a minute.
Slots and pictures stay as they are to the last bit; distiller, relation module and predictor are learned. A model may
be asked for more decodings than it was trained with: its latents then lag less behind what moves.
"""

import argparse
import dataclasses
import pathlib

import numpy as np

import oddn_jax
from data_pipelines.datasets import dataset_summary
from data_pipelines.seeds import parse_seed
from data_pipelines.whole_files import check_output
from experiments import command_line
from experiments.config import DataConfig
from experiments.evaluation.scoring import RULES, Clips, count_clips
from experiments.runs import datasets, trained
from experiments.training import latent_dynamics
from experiments.vqa import extraction

DEFAULT_OUTPUT = "oddn_dynamics.safetensors"
SPLIT = "train"
HELD_OUT = 10  # every tenth video is not learned from
NUM_FRAMES = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this program's options."""
    trained.add_arguments(parser)
    trained.add_data_arguments(parser, default_split=SPLIT)
    parser.add_argument(
        "--clips", choices=RULES, help="one of each video (default: paper, or first without any)"
    )
    parser.add_argument("--num_frames", type=int, help=f"frames of a clip (default: {NUM_FRAMES}, or all)")
    parser.add_argument("--limit", type=int, help="only the first so many clips (default: all)")
    parser.add_argument(
        "--features",
        metavar="DIR",
        help="where the latents are kept (default: DATA_DIR/features/MODEL/NAME-CONFIG-CLIPS)",
    )
    for name, what in (("refinement", "first"), ("tracking", "other")):
        parser.add_argument(
            f"--num_{name}_steps",
            type=int,
            help=f"decodings of a clip's {what} frames, for the latents and in the file (default: the model's)",
        )
    parser.add_argument("--num_steps", type=int, default=3000, help="(default: %(default)s)")
    parser.add_argument("--seed", type=parse_seed, default=0, help="(default: %(default)s)")
    parser.add_argument(
        "--without_relation", action="store_true", help="no slot acts on another: the paper's ablation"
    )
    parser.add_argument("--output", metavar="FILE", default=DEFAULT_OUTPUT, help="(default: %(default)s)")


def main(options: argparse.Namespace) -> None:
    """Learns, and says how far predictions are from the latents to come.

    Raises:
        FileNotFoundError, ValueError: the model, the data or an option is unusable; nothing is written then.
    """
    output = pathlib.Path(options.output)
    if output.suffix != ".safetensors":
        raise ValueError(f"--output={output}: the name must end in .safetensors")
    check_output(output, "--output")
    for name, least in (("limit", HELD_OUT), ("num_frames", 3), ("num_steps", 2)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise ValueError(f"--{name} must be at least {least}, not {value}")
    found = trained.open_trained(options.run, options.export, options.step)
    if not isinstance(found.model, oddn_jax.ODDN):
        raise ValueError(f"{found.name} is of {type(found.model).__name__}: only ODDN distils dynamics")
    decodings = {
        name: getattr(options, name)
        for name in ("num_refinement_steps", "num_tracking_steps")
        if getattr(options, name) is not None
    }
    config = dataclasses.replace(found.model.config, **decodings)
    found = found._replace(model=found.model.clone(config=config))
    data = trained.choose_data(found, options)
    split = options.split or SPLIT
    clip = choose_clip(found, data, split, options)
    name = f"{data.name}/{data.config}-{clip.name}_{clip.num_frames}"
    name += "".join(f"-{option}_{value}" for option, value in decodings.items())
    folder = extraction.default_folder(data.data_dir, found.name, name)
    folder = pathlib.Path(options.features) if options.features else folder
    videos = extraction.extract(found, data, folder, [split], options.limit, clip=clip)[split]
    if videos < HELD_OUT:
        raise ValueError(f"{data.name}/{data.config} has {videos} {split} clips: {HELD_OUT} are needed")

    model = found.model
    if options.without_relation:
        model = model.clone(config=dataclasses.replace(config, use_relation=False))
    latents = extraction.read_split(folder, split)["latents"]
    is_held_out = np.arange(videos) % HELD_OUT == HELD_OUT - 1
    params, error, copied = latent_dynamics.learn(
        model, found.params, latents[~is_held_out], latents[is_held_out], options.num_steps, options.seed
    )
    facts = {
        "steps": options.num_steps,
        "seed": options.seed,
        "data": f"{data.name}/{data.config}",
        "split": split,
        "clips": clip._asdict(),
        "videos": int((~is_held_out).sum()),
        "held_out": {"error": error, "copied": copied},
        "of": found.name,
    }
    provenance = trained.portable_provenance(found) | {"dynamics": facts}
    provenance.pop("metrics", None)  # of the dynamics before
    oddn_jax.save(output, model.config, params, model=type(model), provenance=provenance)
    print(f"written to {output}; score it with `python -m experiments.evaluate --export={output}`")


def choose_clip(
    found: trained.Trained, data: DataConfig, split: str, options: argparse.Namespace
) -> extraction.ClipRule:
    """The clips that the options ask for; silent, the paper's if there are some, of 12 frames if there are as many."""
    dataset_dir = datasets.find(data, found.model.config, [split])
    available = datasets.frames_available(dataset_summary(dataset_dir, split), data.stride)
    num_frames = options.num_frames or min(NUM_FRAMES, available)
    rule = options.clips
    if rule is None:
        of_paper = Clips(dataset_dir, split, "paper", num_frames, data.stride)
        rule = "paper" if count_clips(of_paper) else "first"
    return extraction.ClipRule(rule, num_frames)


if __name__ == "__main__":
    command_line.run_tool(main, add_arguments)
