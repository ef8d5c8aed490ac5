"""One row of a table of scores: prepares its data, trains its reasoner, and scores it beside the references."""

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from data_pipelines import build, clips
from data_pipelines.whole_files import whole_file
from experiments.config import DataConfig, VQAConfig
from experiments.runs import checkpoints, run_folder, trained
from experiments.runs.logs import say
from experiments.runs.trained import Trained
from experiments.vqa import (
    extraction,
    features,
    labels,
    questions,
    reasoner,
    references,
    rollouts,
    scores,
    steps,
    training,
    transfer,
)
from experiments.vqa.config import check
from experiments.vqa.features import VideoFeatures
from experiments.vqa.training import Data


class Sources(NamedTuple):
    """Where a row's questions and features lie."""

    questions: pathlib.Path
    videos: pathlib.Path | None  # of "truth" and "blind"
    features: pathlib.Path | None  # extracted ones
    model: str | None  # that extracted them


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
    taught = open_taught(config)
    sources = prepare(config)
    config, data, standardization = load(config, sources)
    train, valid = data["train"], data[config.valid_split]
    begin = taught and functools.partial(begin_with, config, taught, sources, standardization)
    with run_folder.hold(workdir):
        params = training.fit(config, workdir, train, valid, begin)
        predictions = steps.to_predictions(training.answer(config, params, valid))
        submitted = data[config.submission_split or config.valid_split]
        answers = steps.to_predictions(training.answer(config, params, submitted))
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


def prepare(config: VQAConfig) -> Sources:
    """Simulates questions and videos that are simulated and missing, and extracts features that are missing.

    Raises:
        FileNotFoundError, ValueError: what is missing needs raw files or a trained model, or there is no such thing.
    """
    if config.features == "blind":
        return Sources(find_or_build(config.questions, config), None, None, None)
    if config.features == "truth":
        return Sources(
            *(find_or_build(name, config) for name in (config.questions, config.videos)), None, None
        )
    if config.features_dir:
        folder = pathlib.Path(config.features_dir)
        model = extraction.read_manifest(folder)["extracted_with"]
        return Sources(find_or_build(config.questions, config), None, folder, model)
    found = open_model(config.features_of)  # before anything that takes minutes
    if config.rollout_frames:
        rollouts.check_model(found)
    asked = find_or_build(config.questions, config)
    folder = extraction.default_folder(config.data_dir, found.name, config.videos)
    name, _, base = config.videos.partition("/")
    data = DataConfig(name=name, config=base, data_dir=config.data_dir)
    stride = found.data.stride if found.data else data.stride
    extraction.extract(found, dataclasses.replace(data, stride=stride), folder, splits_of(config))
    return Sources(asked, None, folder, found.name)


def open_taught(config: VQAConfig) -> reasoner.Reasoner | None:
    """The reasoner that `config.taught_by` names, if it names one.

    Raises:
        FileNotFoundError, ValueError: there is none, or it is of another form.
    """
    if not config.taught_by:
        return None
    taught = reasoner.open_reasoner(config.taught_by)
    transfer.check(config.model, config.features, taught)
    return taught


def begin_with(
    config: VQAConfig,
    taught: reasoner.Reasoner,
    sources: Sources,
    standardization: features.Standardization | None,
) -> dict[str, Any]:
    """The parameters that a reasoner begins with, from those of one that was taught on the truth.

    Raises:
        FileNotFoundError, ValueError: the labels of the videos, or the model that saw them, are missing.
    """
    told = reasoner.standardization(taught.reads)
    if standardization is None:  # blind
        reading = transfer.nothing(config.model, taught.model.config.feature_size)
    elif config.features == "truth":
        reading = transfer.rescaling(standardization, told)
    else:
        found = open_model_of(config, sources.features)
        if not hasattr(found.model, "decode"):
            raise ValueError(f"config.taught_by: {found.name} has no slots that can be decoded one by one")
        name, _, base = config.videos.partition("/")
        videos = build.dataset_path(name, base, config.data_dir)
        labelled = labels.labelled_videos(found, sources.features, videos, "train", config.features)
        background = int(extraction.has_background(sources.features))
        say(
            f"reading true objects off slots, with the labels of {transfer.NUM_VIDEOS} training videos at most"
        )
        hidden_size = config.model.slot_hidden_size
        reading = transfer.fit_reading(labelled, standardization, told, background, hidden_size)
    return transfer.begin(config.model, taught, reading)


def find_or_build(name: str, config: VQAConfig) -> pathlib.Path:
    """The folder of a data set NAME/CONFIG; the splits that are needed are built first if simulated and missing.

    Raises:
        FileNotFoundError, ValueError: they are missing and need raw files, or there is no such data set.
    """
    name, _, base = name.partition("/")
    return build.build(name, base, config.data_dir, splits=splits_of(config)).path


def open_model(name: str) -> Trained:
    """The model of a run folder, an exported file or a bundled name.

    Raises:
        FileNotFoundError: there is none of the three.
    """
    if os.path.isdir(name):
        return trained.open_trained(run=name)
    try:
        return trained.open_trained(export=name)
    except FileNotFoundError:
        if not os.path.isdir(os.path.join("runs", name)):
            raise FileNotFoundError(
                f"config.features_of={name} is no run folder, no exported file and no bundled model, nor is there a "
                f"run runs/{name}: train one, `python -m experiments.clevrer_pretrain` makes runs/quickstart"
            ) from None
    return trained.open_trained(run=os.path.join("runs", name))


def splits_of(config: VQAConfig) -> list[str]:
    """To train on, to score on, and to submit, each once."""
    return list(dict.fromkeys(("train", config.valid_split, config.submission_split or config.valid_split)))


def load(
    config: VQAConfig, sources: Sources
) -> tuple[VQAConfig, dict[str, Data], features.Standardization | None]:
    """Reads all splits; the config that comes back has a model that fits what is seen of the videos.

    Raises:
        ValueError: there are questions about videos that were not looked at.
    """
    splits = splits_of(config)
    asked = [questions.read(sources.questions, split) for split in splits]
    if config.features == "blind":
        config, *data = make_blind(config, *asked)
        return config, dict(zip(splits, data)), None
    if config.features == "truth":
        seen = [features.truth(sources.videos, split) for split in splits]
    else:
        extend = make_rollout(config, sources.features) if config.rollout_frames else None
        seen = [features.extracted(sources.features, split, config.features, extend) for split in splits]
    observed = min(of_split.slots.shape[1] for of_split in seen) - config.rollout_frames
    standardize = features.Standardization.of(seen[0]._replace(slots=seen[0].slots[:, :observed]))
    seen = [of_split._replace(slots=standardize(of_split.slots)) for of_split in seen]
    num_slots = max(of_split.slots.shape[2] for of_split in seen)
    seen = [features.pad_slots(of_split, num_slots) for of_split in seen]
    fitting = (observed - 1) // config.frame_stride + 1 if config.frame_stride else observed
    num_frames = min(config.num_frames, fitting)
    if num_frames < config.num_frames:
        say(f"{num_frames} frames a video, {config.num_frames} were asked for: the videos have {observed}")
    data = [join(of_split, of_videos, split) for of_split, of_videos, split in zip(asked, seen, splits)]
    background = config.features != "truth" and extraction.has_background(sources.features)
    fitted = fit_model(config, data[0].videos.shape[-1], num_slots, num_frames, background)
    return fitted, dict(zip(splits, data)), standardize


def make_rollout(config: VQAConfig, folder: pathlib.Path) -> Callable[[extraction.Arrays], extraction.Arrays]:
    """What appends `config.rollout_frames` to extracted slots, by the model that saw them.

    Raises:
        FileNotFoundError, ValueError: `config.features_of` is not that model, or rolls out no slots.
    """
    found, manifest = open_model_of(config, folder), extraction.read_manifest(folder)
    gap = clips.stored_gap(manifest["identity"]["stride"], manifest["source_stride"])
    return functools.partial(rollouts.append, found, gap=gap, num_frames=config.rollout_frames)


def open_model_of(config: VQAConfig, folder: pathlib.Path) -> Trained:
    """The model that saw what a folder of features holds.

    Raises:
        FileNotFoundError, ValueError: `config.features_of` is not that model.
    """
    found, manifest = open_model(config.features_of), extraction.read_manifest(folder)
    if checkpoints.digest(found.params) != manifest["identity"]["params_sha256"]:
        raise ValueError(
            f"{folder} holds what {manifest['extracted_with']} saw, and config.features_of={config.features_of} has "
            "other parameters: name the model that saw these slots"
        )
    return found


def make_blind(config: VQAConfig, *asked: questions.Questions) -> tuple[VQAConfig, *tuple[Data, ...]]:
    """The same questions about one frame with one slot of zeros: they have to be answered by their text alone."""
    nothing = np.zeros((1, 1, 1, config.model.feature_size), np.float32)
    data = (Data(of_split, nothing, np.zeros(len(of_split.type), int)) for of_split in asked)
    blind = dataclasses.replace(config, features="blind", rollout_frames=0)
    return fit_model(blind, config.model.feature_size, 1, 1), *data


def fit_model(
    config: VQAConfig, feature_size: int, num_slots: int, num_frames: int, background_slot: bool = False
) -> VQAConfig:
    """The config with a model for so many slots of so many numbers in so many frames."""
    fitting = {"feature_size": feature_size, "num_slots": num_slots, "num_frames": num_frames}
    fitting |= {"background_slot": background_slot}
    if config.model.form == "relative":
        fitting |= {"word_size": feature_size - 2}
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **fitting))


def join(asked: questions.Questions, seen: VideoFeatures, split: str) -> Data:
    """Finds the video of each question.

    Raises:
        ValueError: one is not there.
    """
    order = np.argsort(seen.scene_index)
    places = np.searchsorted(seen.scene_index[order], asked.scene_index)
    rows = order[np.minimum(places, len(order) - 1)]
    missing = asked.scene_index[seen.scene_index[rows] != asked.scene_index]
    if len(missing):
        raise ValueError(
            f"{len(set(missing.tolist()))} videos of the {split} questions have no features, the first is scene "
            f"{missing[0]}: config.questions is about other videos than config.videos, or not all are extracted"
        )
    return Data(asked, seen.slots, rows)


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
        blind, *data = make_blind(config, train.questions, valid.questions)
        begin = taught and functools.partial(begin_with, blind, taught, sources, None)
        params = training.fit(blind, workdir / "blind", *data, begin)
        said = steps.to_predictions(training.answer(blind, params, data[1]))
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
    manifest = extraction.read_manifest(sources.features) if sources.features else {}
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
