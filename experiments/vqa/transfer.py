"""A reasoner that begins with what another one has learned on the true objects: it need only learn to see.

The truth needs no pictures, so that a reasoner can be trained on it with as many videos as it takes. Its layers, words
and heads are taken over; before its input comes a small network that reads the true objects' numbers off a model's
slots, fitted with the labels of a few training videos. All of it is trained on, on the slots.

Source: our choice.
"""

import itertools
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from experiments.config import VQAConfig
from experiments.evaluation.network_probes import NetworkProbe, fit_network
from experiments.evaluation.objects import own_slots
from experiments.runs.logs import say
from experiments.vqa import feature_files, labels
from experiments.vqa.features import Standardization, true_numbers
from experiments.vqa.labels import Labelled
from experiments.vqa.reasoner import Reasoner, open_reasoner
from experiments.vqa.reasoner import standardization as standardization_of
from experiments.vqa.sources import Sources, open_model_of
from oddn_jax.reasoning import ALOEConfig
from oddn_jax.reasoning.aloe import SlotReader
from oddn_jax.reasoning.vocabulary import CHOICE_LENGTH, QUESTION_LENGTH

NUM_VIDEOS = 200  # whose labels the reading is fitted with: 45,000 slots of videos of 32 frames and 7 slots
OWN = frozenset(  # of a reasoner of slots: what it sees, and how it is trained
    "feature_size num_slots num_frames background_slot slot_hidden_size dropout recompute compute_dtype".split()
)


def open_taught(config: VQAConfig) -> Reasoner | None:
    """The reasoner that `config.taught_by` names, if it names one.

    Raises:
        FileNotFoundError, ValueError: there is none, or it is of another form.
    """
    if not config.taught_by:
        return None
    taught = open_reasoner(config.taught_by)
    check(config.model, config.features, taught)
    return taught


def begin_with(
    config: VQAConfig,
    taught: Reasoner,
    sources: Sources,
    standardization: Standardization | None,
) -> dict[str, Any]:
    """The parameters that a reasoner begins with, from those of one that was taught on the truth.

    Raises:
        FileNotFoundError, ValueError: the labels of the videos, or the model that saw them, are missing, or its slots
            cannot be decoded.
    """
    told = standardization_of(taught.reads)
    if standardization is None:  # blind
        reading = nothing(config.model, taught.model.config.feature_size)
    elif config.features == "truth":
        reading = rescaling(standardization, told)
    else:
        found = open_model_of(config, sources.features)
        labels.check_model(found)
        labelled = labels.labelled_videos(found, sources.features, sources.videos, "train", config.features)
        background = int(feature_files.has_background(sources.features))
        say(f"reading true objects off slots, with the labels of {NUM_VIDEOS} training videos at most")
        hidden_size = config.model.slot_hidden_size
        reading = fit_reading(labelled, standardization, told, background, hidden_size)
    return begin(config.model, taught, reading)


def check(config: ALOEConfig, features: str, taught: Reasoner) -> None:
    """Raises ValueError unless a reasoner of this config, of these features, can begin as that one."""
    if taught.reads.features != "truth" or taught.model.config.slot_hidden_size:
        raise ValueError(
            f"config.taught_by: {taught.name} has not read the truth itself but {taught.reads.features}: name one of "
            "config.features=truth"
        )
    if config.form != "absolute":
        raise ValueError(
            f"config.taught_by: config.model.form {config.form!r} has one input for words and slots"
        )
    if bool(config.slot_hidden_size) != (features != "truth"):
        raise ValueError(
            f"config.taught_by: config.model.slot_hidden_size is {config.slot_hidden_size}: it must be above 0, such "
            "as 128, to read slots, and 0 for features=truth"
        )
    for name, value in vars(config).items():
        other = getattr(taught.model.config, name)
        if name not in OWN and value != other:
            raise ValueError(
                f"config.model.{name} is {value}, {taught.name} has {other}: give both the same form"
            )


def fit_reading(
    videos: Iterable[Labelled], seen: Standardization, true: Standardization, first: int, hidden_size: int
) -> NetworkProbe:
    """The network from a slot, as a reasoner of slots reads it, to the numbers of the object that it stands for, as one
    of the truth reads them; to those of no object where it stands for none.

    Args:
        videos: the first `NUM_VIDEOS` of them are used.
        first: 1 where the first slot is the background's, else 0.

    Raises:
        ValueError: no slot shows an object.
    """
    slots, numbers = [], []
    for video in itertools.islice(videos, NUM_VIDEOS):
        told = true_numbers(
            video.location, video.velocity, np.ones(video.velocity.shape[:2]), video.attributes
        )
        target = np.zeros((*video.slots.shape[:2], told.shape[-1]), np.float32)
        for frame, overlap in enumerate(video.overlap):
            own = own_slots(overlap, video.object_id + 1)
            target[frame, own[own >= first]] = told[frame, own >= first]
        slots.append(video.slots.reshape(-1, video.slots.shape[-1]))
        numbers.append(target.reshape(-1, target.shape[-1]))
    if not any(of_video.any() for of_video in numbers):
        raise ValueError(
            "config.taught_by: no slot of the training videos shows an object whose mask and labels are known, so that "
            "nobody can say what slots tell: take simulated videos, or a model whose slots separate objects"
        )
    return fit_network(seen(np.concatenate(slots)), true(np.concatenate(numbers)), hidden_size)


def rescaling(seen: Standardization, true: Standardization) -> NetworkProbe:
    """From the numbers of true objects to the same numbers, brought to unit scale by other training videos."""
    return NetworkProbe(None, np.diag(true.scale / seen.scale), (seen.mean - true.mean) * true.scale)


def nothing(config: ALOEConfig, size: int) -> NetworkProbe:
    """That of a reasoner which sees nothing."""
    hidden, inputs = None, config.feature_size
    if config.slot_hidden_size:
        inputs = config.slot_hidden_size
        shapes = jax.eval_shape(SlotReader(inputs).init, jax.random.key(0), np.zeros(config.feature_size))
        hidden = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes["params"])
    return NetworkProbe(hidden, np.zeros((inputs, size)), np.zeros(size))


def begin(config: ALOEConfig, taught: Reasoner, reading: NetworkProbe) -> dict[str, Any]:
    """Parameters of a reasoner of this config, from those of one of the truth."""
    params, size = jax.device_get(dict(taught.params)), taught.model.config.feature_size
    of_numbers, of_kind = np.split(params["slot_input"]["kernel"], [size])
    slot_input = {
        "kernel": np.concatenate([reading.kernel @ of_numbers, of_kind]),
        "bias": params["slot_input"]["bias"] + reading.bias @ of_numbers,
    }
    positions = _positions(params["transformer"]["positions"], taught.model.config, config)
    params |= {"slot_input": slot_input, "transformer": params["transformer"] | {"positions": positions}}
    if reading.hidden:
        params["slot_reader"] = reading.hidden
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), params)


def _positions(positions: np.ndarray, taught: ALOEConfig, config: ALOEConfig) -> np.ndarray:
    """A slot gets the mean position of the slots in the frame at the same time; all else keeps its own.

    Slots come in a random order in training, so that those of a frame have learned the same.
    """
    num_words = QUESTION_LENGTH + CHOICE_LENGTH
    first, of_slots, of_words = np.split(positions, [1, len(positions) - num_words])
    frames = of_slots.reshape(taught.num_frames, taught.num_slots, -1).mean(1)
    times = np.round(np.linspace(0, taught.num_frames - 1, config.num_frames)).astype(int)
    return np.concatenate([first, np.repeat(frames[times], config.num_slots, 0), of_words])
