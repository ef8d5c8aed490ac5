"""Trains the dynamics of a model, anew or on from its own, on the latents that it sees, and writes the model to a file.

    python -m experiments.train_dynamics
    python -m experiments.train_dynamics --export=clevrer --limit=400 --output=clevrer_dynamics.safetensors
    python -m experiments.train_dynamics --run=runs/k7 --without_relation
    python -m experiments.train_dynamics --run=runs/k7 --go_on --num_steps=1500

Without options: the quickstart's run, on clips of the videos that it was trained on. The latents are extracted first,
as extract_latents does, and kept; then nothing is inferred and decoded any more, and thousands of steps take a minute.
Slots and pictures stay as they are to the last bit; distiller, relation module and predictor are learned. Asked for
more decodings than it was trained with (export_params --set), a model's latents lag less behind what moves; and
export_params --set student_forcing_depth=6 has six frames foreseen instead of two. Dynamics learned with pictures blur
what they are not sure of, those learned from latents stay sharp; one after the other they are best (--go_on).
"""

import argparse
import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np

import oddn_jax
from data_pipelines.datasets import dataset_summary
from data_pipelines.seeds import parse_seed
from data_pipelines.whole_files import check_output
from experiments import command_line
from experiments.config import DataConfig
from experiments.runs import datasets, trained
from experiments.runs.clips import Clips, by_rule
from experiments.training import latent_dynamics
from experiments.vqa import extraction, feature_files

DEFAULT_OUTPUT = "oddn_dynamics.safetensors"
SPLIT = "train"
HELD_OUT = 10  # every tenth scene is not learned from
NUM_FRAMES = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this program's options."""
    trained.add_arguments(parser)
    trained.add_data_arguments(parser, default_split=SPLIT)
    parser.add_argument("--limit", type=int, help="only the first so many clips (default: all)")
    parser.add_argument(
        "--num_whole_videos",
        type=int,
        default=600,
        help="of so many videos all frames too, at most --limit; 0: of none (default: %(default)s)",
    )
    parser.add_argument(
        "--features",
        metavar="DIR",
        help="where the latents are kept (default: DATA_DIR/features/MODEL)",
    )
    parser.add_argument("--num_steps", type=int, default=3000, help="(default: %(default)s)")
    parser.add_argument("--seed", type=parse_seed, default=0, help="(default: %(default)s)")
    parser.add_argument(
        "--without_relation", action="store_true", help="no slot acts on another: the paper's ablation"
    )
    parser.add_argument(
        "--go_on", action="store_true", help="with the dynamics that the model has, instead of new ones"
    )
    parser.add_argument("--output", metavar="FILE", default=DEFAULT_OUTPUT, help="(default: %(default)s)")


def main(options: argparse.Namespace) -> None:
    """Learns, and says how far predictions are from the latents to come.

    Raises:
        FileNotFoundError, ValueError: the model, the data or an option is unusable; no model is written then.
    """
    output = pathlib.Path(options.output)
    if output.suffix != ".safetensors":
        raise ValueError(f"--output={output}: the name must end in .safetensors")
    check_output(output, "--output")
    for name, least in (("limit", HELD_OUT), ("num_whole_videos", HELD_OUT), ("num_steps", 2)):
        value = getattr(options, name)
        if value is not None and value < least and (name, value) != ("num_whole_videos", 0):
            raise ValueError(f"--{name} must be at least {least}, not {value}")
    found = trained.open_trained(options.run, options.export, options.step)
    if not isinstance(found.model, oddn_jax.ODDN):
        raise ValueError(f"{found.name} is of {type(found.model).__name__}: only ODDN distils dynamics")
    data = trained.choose_data(found, options)
    split = options.split or SPLIT
    kinds = choose_kinds(found, data, split, options)
    learned_from, held_out = see(found, data, split, kinds, options.features)
    model = found.model
    if options.without_relation:
        model = model.clone(config=dataclasses.replace(model.config, use_relation=False))
    params, error, copied = latent_dynamics.learn(
        model, found.params, learned_from, held_out[0], options.num_steps, options.seed, options.go_on
    )
    facts = {
        "steps": options.num_steps,
        "seed": options.seed,
        "go_on": options.go_on,
        "data": f"{data.name}/{data.config}",
        "split": split,
        "clips": [clip._asdict() | {"videos": len(of)} for clip, of in zip(kinds, learned_from)],
        "held_out": {"error": error, "copied": copied},
        "of": found.name,
    }
    provenance = trained.portable_provenance(found) | {"dynamics": facts}
    provenance.pop("metrics", None)  # of the dynamics before
    oddn_jax.save(output, model.config, params, model=type(model), provenance=provenance)
    print(f"written to {output}; score it with `python -m experiments.evaluate --export={output}`")


def see(
    found: trained.Trained,
    data: DataConfig,
    split: str,
    kinds: Mapping[extraction.ClipRule, int | None],
    features: str | None,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The latents f32[v t k l] of each kind of clips, extracted where they are not there yet: to learn from, held out.

    Raises:
        FileNotFoundError, ValueError: as `extraction.extract`, or there are too few clips.
    """
    learned_from, held_out = [], []
    for clip, limit in kinds.items():
        name = f"{data.name}-{data.config}-{clip.name}_{clip.num_frames}"
        folder = feature_files.default_folder(data.data_dir, found.name, name)
        folder = pathlib.Path(features, folder.name) if features else folder
        number = extraction.extract(found, data, folder, [split], limit, clip=clip)[split]
        arrays = feature_files.read_split(folder, split)
        is_held_out = arrays["scene_index"] % HELD_OUT == HELD_OUT - 1  # the same videos of each kind
        if is_held_out.all() or not is_held_out.any():
            raise ValueError(
                f"{number} {split} clips of {data.name}/{data.config} are too few to hold some out: take more"
            )
        learned_from.append(arrays["latents"][~is_held_out])
        held_out.append(arrays["latents"][is_held_out])
    return learned_from, held_out


def choose_kinds(
    found: trained.Trained, data: DataConfig, split: str, options: argparse.Namespace
) -> dict[extraction.ClipRule, int | None]:
    """What is learned from: kinds of clips, and how many of each, at most.

    The paper's clips if there are some, otherwise the beginning of each video; and all frames of some, in which slots
    have been tracked for long (our choice, diary "dynamics and velocity").
    """
    dataset_dir = datasets.find(data, found.model.config, [split])
    available = datasets.frames_available(dataset_summary(dataset_dir, split), data.stride)
    num_frames = min(NUM_FRAMES, available)
    chosen = by_rule(Clips(dataset_dir, split, "paper", num_frames, data.stride))
    clip = extraction.ClipRule(chosen.rule, num_frames)
    kinds: dict[extraction.ClipRule, int | None] = {clip: options.limit}
    if options.num_whole_videos:
        whole = extraction.ClipRule("first", available)
        kinds.setdefault(whole, min(options.num_whole_videos, options.limit or options.num_whole_videos))
    return kinds


if __name__ == "__main__":
    command_line.run_tool(main, add_arguments)
