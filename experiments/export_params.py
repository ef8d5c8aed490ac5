"""Exports a trained model: one safetensors file for any framework, and functions that run with JAX alone.

    python -m experiments.export_params
    python -m experiments.export_params --run=WORKDIR --step=2500 --output=oddn.safetensors --jax_export
    python -m experiments.export_params --set num_refinement_steps=20 num_tracking_steps=5

Without options: the latest checkpoint of the quickstart's run, to oddn.safetensors. The file's header says how the
model is built, where it comes from (data, simulated or not, step, seed, commit, devices, packages), what the mean of
its training frames is and, where the run's metrics.json was written for the same step, how it scores.
`oddn_jax.load(FILE)` reads it. --jax_export adds oddn.infer.jaxexport, oddn.distill.jaxexport and
oddn.rollout.jaxexport, or what else the model can do, such as provide.predict.jaxexport; `oddn_jax/serialized.py` says
what they take and give. --set writes the same parameters with other options of the model than they were trained with,
more decodings or another weight of the background's slot: whatever reads that file asks so.
"""

import argparse
import glob
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import oddn_jax
from data_pipelines.whole_files import check_output
from experiments import command_line
from experiments.runs import trained
from oddn_jax.export import write_whole
from oddn_jax.records import parse_record

DEFAULT_OUTPUT = "oddn.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this program's options."""
    trained.add_arguments(parser)
    parser.add_argument("--output", metavar="FILE", default=DEFAULT_OUTPUT, help="(default: %(default)s)")
    parser.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="options of the model, other than in training",
    )
    parser.add_argument("--jax_export", action="store_true", help="also write serialised functions beside it")


def main(options: argparse.Namespace) -> None:
    """Writes the files and says which, on stdout.

    Raises:
        FileNotFoundError, ValueError: the model or an option is unusable; nothing is written then.
    """
    output = pathlib.Path(options.output)
    if output.suffix != ".safetensors":
        raise ValueError(f"--output={output}: the name must end in .safetensors")
    check_output(output, "--output")
    found = trained.open_trained(options.run, options.export, options.step)
    found = trained.ask_with(found, options.set)
    provenance = trained.portable_provenance(found)
    if options.export is None and not options.set:
        provenance |= run_metrics(pathlib.Path(found.name), provenance["step"])
    functions = serialize(found) if options.jax_export else {}
    oddn_jax.save(output, found.model.config, found.params, model=type(found.model), provenance=provenance)
    paths = {name: output.with_suffix(f".{name}.jaxexport") for name in functions}
    for name, content in functions.items():
        write_whole(paths[name], content)
    for path in (output, *paths.values()):
        print(f"written to {path}")
    if functions and not functions.keys() & {"predict", "rollout"}:
        print(f"{type(found.model).__name__} predicts no frames: there is no such function")
    if found.mean_frame is None:
        print(f"exported without the mean training frame: {found.name} has none", file=sys.stderr)
    others = {path.name for path in output.parent.glob(f"{glob.escape(output.stem)}.*.jaxexport")}
    others -= {path.name for path in paths.values()}
    if others:
        print(f"WARNING: {', '.join(sorted(others))} beside it is of an earlier export", file=sys.stderr)


def run_metrics(workdir: pathlib.Path, step: int) -> dict[str, Any]:
    """What a run's metrics.json says, as {"metrics": ...}; nothing where it is missing or of another step.

    Values that are not finite become None, which is all that JSON has for them.

    Raises:
        ValueError: the file is damaged.
    """
    path = workdir / "metrics.json"
    if not path.exists():
        return {}
    try:
        metrics = parse_record(path.read_bytes(), constant=lambda _: None)
        scored = metrics["step"]
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"{path} cannot be read; `python -m experiments.evaluate` writes it again"
        ) from error
    if scored != step:
        print(f"{path} is of step {scored}, not {step}: exported without metrics", file=sys.stderr)
        return {}
    return {"metrics": metrics}


def serialize(found: trained.Trained) -> Mapping[str, bytes]:
    """The serialised functions of a model.

    Raises:
        ValueError: a package is missing; says how to install it.
    """
    try:
        return oddn_jax.serialize_functions(found.model, found.params)
    except ModuleNotFoundError as error:
        raise ValueError(f"--jax_export: {error}") from error


if __name__ == "__main__":
    command_line.run_tool(main, add_arguments)
