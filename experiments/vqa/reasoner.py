"""A trained reasoner in one file: its parameters, and what it reads of a video, so that new videos can be asked about.

`oddn_jax.load` reads the file too; what a reasoner reads, what it was trained on and how it scores are facts of its
header.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

import oddn_jax
from data_pipelines.datasets import open_split
from experiments.config import VQAConfig, build
from experiments.runs import checkpoints
from experiments.runs.trained import Trained
from experiments.vqa import feature_files
from experiments.vqa.features import Standardization
from oddn_jax.reasoning import ALOE, ALOEConfig

FILE = "reasoner.safetensors"  # in a run folder
BUNDLED = "quickstart_reasoner"
FACTS = (
    "reads",
    "questions",
    "simulated",
    "num_train_videos",
    "scores",
)  # of the header, that answers come with


@dataclasses.dataclass(kw_only=True)
class Reads:
    """What a reasoner reads of a video."""

    features: str  # "latents", "dynamics", "both" or "truth"
    model: str  # whose features: a run folder, an exported file or a bundled name; "" of the truth
    params_sha256: str  # of its parameters; "" of the truth
    source_stride: int  # source frames from one frame of a video to the next
    stride: int  # source frames that dynamics span
    num_frames: int  # of the videos that it was trained on
    frame_stride: int  # frames from one that is read to the next; 0: spread from the first to the last
    mean: tuple  # of each number of a slot
    scale: tuple  # what each is multiplied by, less its mean


class Reasoner(NamedTuple):
    """A reasoner, its parameters, and what is known of it."""

    model: ALOE
    params: Mapping[str, Any]
    reads: Reads
    trained_on: Mapping[str, Any]  # what `answering.describe` says, and the scores
    name: str


def what_it_reads(
    config: VQAConfig,
    folder: pathlib.Path | None,
    dataset_dir: pathlib.Path | None,
    num_frames: int,
    standardization: Standardization,
) -> Reads:
    """That of a reasoner which was trained on the features in a folder, or on the true objects of a data set."""
    if folder:
        manifest = feature_files.read_manifest(folder)
        model, digest = manifest["extracted_with"], manifest["identity"]["params_sha256"]
        source_stride, stride = manifest["source_stride"], manifest["identity"]["stride"]
    else:
        model = digest = ""
        source_stride = stride = open_split(dataset_dir, "train").source_stride
    return Reads(
        features=config.features,
        model=model,
        params_sha256=digest,
        source_stride=source_stride,
        stride=stride,
        num_frames=num_frames,
        frame_stride=config.frame_stride,
        mean=tuple(map(float, standardization.mean)),
        scale=tuple(map(float, standardization.scale)),
    )


def standardization(reads: Reads) -> Standardization:
    """How a reasoner brings the numbers of a slot to unit scale."""
    return Standardization(np.array(reads.mean, np.float32), np.array(reads.scale, np.float32))


def save(
    workdir: pathlib.Path, config: ALOEConfig, params: Any, reads: Reads, record: Mapping[str, Any]
) -> None:
    """Writes the reasoner of a run beside its scores."""
    facts = {"reads": dataclasses.asdict(reads), **{k: v for k, v in record.items() if k != "references"}}
    oddn_jax.save(workdir / FILE, config, params, model=ALOE, provenance=facts)


def open_reasoner(name: str) -> Reasoner:
    """Opens the reasoner of a run folder, of a file, or a bundled one.

    Raises:
        FileNotFoundError: there is none; says which command makes one.
        ValueError: it is damaged, no reasoner, or does not say what it reads.
    """
    path = name
    if os.path.isdir(name):
        path = os.path.join(name, FILE)
        if not os.path.isfile(path):
            raise FileNotFoundError(
                f"{name} has no {FILE}: `python -m experiments.clevrer_vqa --workdir={name}` writes it at its end, "
                "where it reads slots or the true objects"
            )
    model, params = oddn_jax.load(path)
    if not isinstance(model, ALOE):
        raise ValueError(f"{name} holds {type(model).__name__}, which answers no questions")
    facts = oddn_jax.read_provenance(path)
    missing = [fact for fact in FACTS if fact not in facts]
    if missing:
        raise ValueError(f"{name} does not tell its {missing[0]}: take a reasoner that clevrer_vqa wrote")
    reads = build(Reads, facts["reads"], f"{name}: reads")
    for numbers in (reads.mean, reads.scale):
        if len(numbers) != model.config.feature_size:
            raise ValueError(
                f"{name}: it scales {len(numbers)} numbers and reads {model.config.feature_size}"
            )
    return Reasoner(model, params, reads, facts, name)


def check_sees(reasoner: Reasoner) -> None:
    """Raises ValueError if the reasoner reads the true objects, which no video tells."""
    if reasoner.reads.features == "truth":
        raise ValueError(
            f"{reasoner.name} reads the true objects of simulated scenes and sees no video: take one that clevrer_vqa "
            "trained on a model's slots"
        )


def check_model(reasoner: Reasoner, found: Trained) -> None:
    """Raises ValueError unless the model is the one whose slots the reasoner has learned to read."""
    if checkpoints.digest(found.params) != reasoner.reads.params_sha256:
        raise ValueError(
            f"{reasoner.name} reads the slots of {reasoner.reads.model}, and {found.name} has other parameters"
        )
