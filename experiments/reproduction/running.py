"""Trains and scores the runs of a table by the programs' own functions; what is done is kept."""

import argparse
import contextlib
import pathlib
import shlex
from typing import Any

import jax
import numpy as np

import oddn_jax
from data_pipelines import loaders
from data_pipelines.whole_files import whole_file
from experiments.config import TrainConfig
from experiments.evaluation import protocol, scoring
from experiments.reproduction.budgets import Entry, Stage
from experiments.runs import checkpoints, datasets, run_folder, trained
from experiments.runs.clips import Clips, count_clips, open_batches
from experiments.training.continuation import continue_pretraining
from experiments.training.loop import fit
from experiments.vqa import symbolic
from experiments.vqa.answering import train_and_evaluate
from experiments.vqa.config import RESUMABLE_FIELDS
from oddn_jax.records import parse_record

NUM_SHOWN_CLIPS = 8  # whose predicted frames are looked at


def measure(entry: Entry, has_pictures: bool) -> dict[str, Any]:
    """Trains what is missing of a run and scores it; returns what metrics.json holds.

    Args:
        has_pictures: the predicted frames are wanted too, as `predictions` gives them.

    Raises: as `fit`, `protocol.score` and `train_and_evaluate`.
    """
    for stage in entry.stages:
        if isinstance(stage.config, TrainConfig):
            train(stage)
    if not isinstance(stage.config, TrainConfig):
        return answers(stage, entry.by_programs)
    with run_folder.hold(stage.folder):
        record = scores(stage, entry.num_predicted)
        if has_pictures:
            record["motion"] = motion(predictions(stage))
    return record


def train(stage: Stage) -> None:
    """Trains a run to its end, from its last checkpoint where it has one."""
    config = stage.config
    fit(continue_pretraining(config) if config.init_from else config, stage.folder)


def scores(stage: Stage, num_predicted: int | None = None) -> dict[str, Any]:
    """The scores of a trained run, as `python -m experiments.evaluate --run=FOLDER` gives them.

    Args:
        num_predicted: as its `--num_predicted`; the scores then lie beside the usual ones.
    """
    arguments, name = [f"--run={stage.folder}"], "metrics.json"
    if num_predicted is not None:
        arguments.append(f"--num_predicted={num_predicted}")
        name = f"metrics-{num_predicted}_frames.json"
    command = f"python -m experiments.evaluate {shlex.join(arguments)}"
    record = kept(stage.folder, command, name)
    if record is None:
        parser = argparse.ArgumentParser()
        protocol.add_arguments(parser)
        found = trained.open_trained(run=str(stage.folder))
        record = protocol.score(found, parser.parse_args(arguments))
        record |= {"command": command, "params_sha256": checkpoints.digest(found.params)}
        run_folder.write_json(stage.folder / name, record)
    return record


def answers(stage: Stage, by_programs: bool = False) -> dict[str, Any]:
    """The scores of a reasoner, trained first where it is not; or of programs on what probes read off its features."""
    command = f"config {run_folder.fingerprint(stage.config, RESUMABLE_FIELDS)}"
    if by_programs:
        return symbolic_answers(stage, f"programs, {command}")
    finished = stage.config.num_steps in checkpoints.saved_steps(stage.folder)
    record = kept(stage.folder, command) if finished else None
    if record is None:
        record = train_and_evaluate(stage.config, stage.folder)
        params = checkpoints.load_params(stage.folder)
        record |= {"command": command, "params_sha256": checkpoints.digest(params)}
        run_folder.write_json(stage.folder / "metrics.json", record)
    return record


def symbolic_answers(stage: Stage, command: str) -> dict[str, Any]:
    """The scores of `symbolic.answer`, kept as long as the model is the same."""
    model = pathlib.Path(stage.config.features_of)
    digest = checkpoints.digest(checkpoints.load_params(model))
    path = stage.folder / "metrics.json"
    try:
        record = parse_record(path.read_bytes(), constant=float)
        if (record["command"], record["params_sha256"]) == (command, digest):
            return record
    except (OSError, ValueError, KeyError):
        pass
    record = symbolic.answer(stage.config) | {"command": command, "params_sha256": digest}
    path.parent.mkdir(parents=True, exist_ok=True)
    run_folder.write_json(path, record)
    return record


def kept(folder: pathlib.Path, command: str, name: str = "metrics.json") -> dict[str, Any] | None:
    """The scores that lie in a run folder, if the same command gave them with the parameters that are there now."""
    try:
        record = parse_record((folder / name).read_bytes(), constant=float)
    except (OSError, ValueError):
        return None
    if record.get("command") != command or "params_sha256" not in record:
        return None
    digest = checkpoints.digest(checkpoints.load_params(folder))
    return record if record["params_sha256"] == digest else None


def predictions(stage: Stage) -> dict[str, np.ndarray]:
    """Some clips and what a trained run predicts of them: video f32[b t h w 3], predicted f32[b s h w 3].

    They begin two frames before a collision where the data have any, otherwise with the video; the predicted frames
    end with the clip. Kept in predictions.npz.
    """
    found = trained.open_trained(run=str(stage.folder))
    digest, path = checkpoints.digest(found.params), stage.folder / "predictions.npz"
    try:
        with np.load(path, allow_pickle=False) as file:
            held = dict(file)
        if held.pop("params_sha256").item() == digest:
            return held
    except (OSError, ValueError, KeyError):
        pass
    model, data = found.model, found.data
    dataset_dir = datasets.find(data, model.config, [data.valid_split])
    observed = model.num_context_frames
    available = datasets.frames_available(loaders.dataset_summary(dataset_dir, data.valid_split), data.stride)
    num_frames = min(available, observed + model.num_rollout_steps)
    clips = Clips(dataset_dir, data.valid_split, "collision", num_frames, data.stride, NUM_SHOWN_CLIPS)
    if not count_clips(clips):
        clips = clips._replace(rule="first")
    with contextlib.closing(open_batches(clips, NUM_SHOWN_CLIPS)) as batches:
        batch = next(batches)
    options = oddn_jax.compiler_options()
    look = jax.jit(scoring.look_of(model, num_frames - observed), compiler_options=options)
    seen = look(found.params, batch["video"], batch["example_id"].astype(np.uint32))
    held = {"video": batch["video"], "predicted": np.asarray(seen.predicted)}
    with whole_file(path) as partial, open(partial, "wb") as file:
        np.savez_compressed(file, params_sha256=digest, **held)
    return held


def motion(shown: dict[str, np.ndarray]) -> dict[str, Any]:
    """The mean squared change from one predicted frame to the next, of that of the true frames."""
    predicted = shown["predicted"]
    truth = shown["video"][:, -predicted.shape[1] :]
    change, true_change = (float(np.square(np.diff(x, axis=1)).mean()) for x in (predicted, truth))
    return {"mean": change / true_change if true_change else None, "standard_error": None, "n": len(truth)}
