"""One row of a table of scores: prepares its data, trains its reasoner, and scores it beside the references."""

import functools
import json
import pathlib
from typing import Any

import numpy as np

from data_pipelines.whole_files import whole_file
from experiments.config import VQAConfig
from experiments.runs import run_folder
from experiments.runs.logs import say
from experiments.vqa import (
    feature_files,
    loading,
    questions,
    readings,
    reasoner,
    references,
    scores,
    training,
    transfer,
)
from experiments.vqa.config import check
from experiments.vqa.sources import Sources, prepare
from experiments.vqa.training import Data


def train_and_evaluate(config: VQAConfig, workdir: str | pathlib.Path) -> dict[str, Any]:
    """Trains a reasoner from its last checkpoint on, scores it on all questions of the validation split, and returns:

    `scores`, by type as `scores.score`; `references`, the same by name; what the numbers mean; and writes that to
    metrics.json, the answers to submission.json, and where slots of a model were read, the reasoner to
    reasoner.safetensors.

    Raises:
        FileNotFoundError, ValueError: an option, a data set or the model is unusable.
        FloatingPointError, MemoryError, OSError, SystemExit: as `training.fit`.
    """
    workdir = pathlib.Path(workdir)
    check(config)
    taught = transfer.open_taught(config)
    sources = prepare(config)
    config, data, standardization = loading.load(config, sources)
    train, valid = data["train"], data[config.valid_split]
    begin = taught and functools.partial(transfer.begin_with, config, taught, sources, standardization)
    with run_folder.hold(workdir):
        params = training.fit(config, workdir, train, valid, begin)
        predictions = readings.to_predictions(training.answer(config, params, valid))
        submitted = data[config.submission_split or config.valid_split]
        answers = readings.to_predictions(training.answer(config, params, submitted))
        write_json(workdir / "submission.json", scores.submission(submitted.questions, answers))
        record = describe(config, sources, train.questions, valid.questions) | {
            "scores": scores.score(valid.questions, predictions),
            "references": reference_scores(config, workdir, sources, train, valid, taught),
        }
        run_folder.write_json(workdir / "metrics.json", record)
        if config.rollout_frames:
            say(f"no {reasoner.FILE} is written: `ask` reads observed frames alone")
        elif standardization:
            num_frames = valid.videos.shape[1]
            reads = reasoner.what_it_reads(
                config, sources.features, sources.videos, num_frames, standardization
            )
            reasoner.save(workdir, config.model, params, reads, record)
    return record


def reference_scores(
    config: VQAConfig,
    workdir: pathlib.Path,
    sources: Sources,
    train: Data,
    valid: Data,
    taught: reasoner.Reasoner | None = None,
) -> dict[str, dict]:
    """The scores of what the config names beside the model; the blind reasoner begins alike and is trained as long."""
    found = {}
    if "blind" in config.references and config.features != "blind":
        say("the blind reference: the same reasoner, trained as long, sees nothing of the videos")
        blind, *data = loading.make_blind(config, train.questions, valid.questions)
        begin = taught and functools.partial(transfer.begin_with, blind, taught, sources, None)
        params = training.fit(blind, workdir / "blind", *data, begin)
        said = readings.to_predictions(training.answer(blind, params, data[1]))
        found["blind"] = scores.score(valid.questions, said)
    if "majority" in config.references:
        found["majority"] = scores.score(valid.questions, scores.majority(train.questions, valid.questions))
    if "executor" in config.references:
        executed = references.executor_scores(sources.questions, config.valid_split, valid.questions)
        if executed is not None:
            found["executor"] = executed
    return found


def describe(
    config: VQAConfig, sources: Sources, train: questions.Questions, valid: questions.Questions
) -> dict[str, Any]:
    """Everything that a number must carry to be published."""
    simulated = (sources.questions / "simulator.json").is_file()
    manifest = feature_files.read_manifest(sources.features) if sources.features else {}
    versions = run_folder.versions()
    return {
        "questions": config.questions,
        "simulated": simulated,
        "split": config.valid_split,
        "num_train_videos": len(np.unique(train.scene_index)),
        "num_videos": len(np.unique(valid.scene_index)),
        "features": config.features,
        "features_of": sources.model,
        "extracted": {name: manifest.get(name) for name in ("identity", "provenance")},
        "form": config.model.form,
        "num_layers": config.model.num_layers,
        "rollout_frames": config.rollout_frames,
        "taught_by": config.taught_by,
        "num_steps": config.num_steps,
        "batch_size": config.batch_size,
        "seed": config.seed,
        "commit": versions["commit"],
        "hardware": versions["devices"],
        "packages": versions["packages"],
    }


def table(record: dict[str, Any]) -> str:
    """The scores of a row and of its references as text."""
    simulated = ", *simulated*" if record["simulated"] else ""
    seen = record["features"] + (f" of {record['features_of']}" if record["features_of"] else "")
    rows = {f"ALOE, {seen}": record["scores"], **record["references"]}
    lines = [
        f"{record['questions']}{simulated}, {record['split']}: {record['num_videos']} videos; trained on "
        f"{record['num_train_videos']} videos, {record['num_steps']} steps of {record['batch_size']} questions, "
        f"seed {record['seed']}",
        "right answers in %: per question; of multiple choice per option / per question (standard error over videos)",
        "",
        scores.table(rows),
    ]
    if "executor" in record["references"]:
        number = min(references.NUM_VIDEOS, record["num_videos"])
        lines.append(f"executor: the questions' programs on the simulator's truth, first {number} videos")
    return "\n".join(lines)


def write_json(path: pathlib.Path, values: Any) -> None:
    """Writes a JSON file whole or not at all, without the white space of `run_folder.write_json`."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(values) + "\n")
