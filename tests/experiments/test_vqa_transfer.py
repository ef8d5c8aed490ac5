"""A reasoner of slots that begins with one of the true objects."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from data_pipelines import build
from experiments.configs import clevrer_vqa
from experiments.evaluation import network_probes
from experiments.runs.trained import Trained
from experiments.vqa import answering, features, reasoner, sources, transfer
from experiments.vqa.features import Standardization
from experiments.vqa.labels import Labelled
from experiments.vqa.reasoner import Reads, Reasoner
from oddn_jax.reasoning import ALOE, ALOEConfig
from tests.experiments.asked import EXAMPLE
from tests.experiments.test_vqa_programs import OPTIONS, QUESTIONS
from tests.experiments.tiny import DATA_NAME
from tests.experiments.toy_model import Toy, ToyConfig
from tests.experiments.untrained import write_run

FRAMES, OBJECTS, SIZE = 4, 3, 24
FORM = ALOEConfig.preset("quickstart", 18, num_layers=2, num_frames=FRAMES, num_slots=OBJECTS)


def as_truth(told):
    return Standardization.of(features.VideoFeatures(told, np.arange(len(told))))


@pytest.fixture(scope="module")
def taught():
    """An untrained reasoner of made-up true objects, whose slots of a frame have one position."""
    told = make_truth(np.random.default_rng(0), 50)[0]
    scaled = as_truth(told)
    params = ALOE(FORM).initialize(jax.random.key(0))
    positions = np.array(params["transformer"]["positions"])
    of_frames = positions[1 : 1 + FRAMES * OBJECTS].reshape(FRAMES, OBJECTS, -1)
    of_frames[:] = of_frames.mean(1, keepdims=True)
    params = params | {"transformer": params["transformer"] | {"positions": positions}}
    reads = Reads(
        features="truth",
        model="",
        params_sha256="",
        source_stride=1,
        stride=1,
        num_frames=FRAMES,
        frame_stride=0,
        mean=tuple(map(float, scaled.mean)),
        scale=tuple(map(float, scaled.scale)),
    )
    return Reasoner(ALOE(FORM), params, reads, {}, "taught")


def make_truth(random, number):
    """Numbers of true objects f32[v t n 18], and what they are made of."""
    shape = number, FRAMES, OBJECTS
    location, velocity = random.normal(1, 2, (*shape, 2)), random.normal(0, 0.5, (*shape, 2))
    attributes = np.stack([random.integers(0, most, (number, OBJECTS)) for most in (8, 2, 3)], -1)
    in_view = np.ones(shape)
    told = [features.true_numbers(*of_video) for of_video in zip(location, velocity, in_view, attributes)]
    return np.stack(told), location, velocity, attributes


def test_slots_that_tell_the_truth_get_the_answers_of_the_truth(taught, monkeypatch):
    monkeypatch.setattr(network_probes, "NUM_PASSES", 3000)
    random = np.random.default_rng(1)
    mixing = random.normal(size=(18, SIZE))
    told, location, velocity, attributes = make_truth(random, 60)
    # An empty slot beside the objects', first for a while and then last; slots are mixtures of the numbers.
    slots = np.zeros((60, FRAMES, OBJECTS + 1, SIZE))
    overlap = np.zeros((60, FRAMES, OBJECTS + 1, OBJECTS + 1))
    for frame in range(FRAMES):
        first = int(frame < 2)
        slots[:, frame, first : first + OBJECTS] = told[:, frame] @ mixing
        for n in range(OBJECTS):
            overlap[:, frame, 1 + n, first + n] = 1
    seen = Standardization(random.normal(size=SIZE), random.uniform(0.5, 2, SIZE))
    videos = [
        Labelled(slots[v], overlap[v], np.arange(OBJECTS), attributes[v], location[v], velocity[v], ())
        for v in range(60)
    ]
    true = reasoner.standardization(taught.reads)
    reading = transfer.fit_reading(videos, seen, true, 0, 64)
    with pytest.raises(ValueError, match=r"config\.taught_by: no slot of the training videos shows"):
        transfer.fit_reading(
            [video._replace(overlap=0 * video.overlap) for video in videos], seen, true, 0, 64
        )
    config = dataclasses.replace(FORM, feature_size=SIZE, num_slots=OBJECTS, slot_hidden_size=64)
    params = transfer.begin(config, taught, reading)
    question, nothing = EXAMPLE.words[:1].repeat(60, 0), np.zeros((60, 12), np.int32)
    alone = np.concatenate([slots[:, :2, 1:], slots[:, 2:, :OBJECTS]], 1)
    said = jax.jit(ALOE(config).apply)({"params": params}, seen(alone).astype("f4"), question, nothing)
    wanted = jax.jit(ALOE(FORM).apply)({"params": taught.params}, true(told).astype("f4"), question, nothing)
    said, wanted = (answer.answer_logits - answer.answer_logits.mean(0) for answer in (said, wanted))
    assert np.std(wanted) > 0.05
    assert np.std(said - wanted) < 0.3 * np.std(wanted)


def test_more_slots_and_other_frames_get_the_positions_of_their_time(taught):
    config = dataclasses.replace(
        FORM, feature_size=SIZE, num_slots=5, num_frames=7, background_slot=True, slot_hidden_size=8
    )
    assert transfer.nothing(FORM, 18).kernel.shape == (18, 18)  # of the truth
    params = transfer.begin(config, taught, transfer.nothing(config, 18))
    new = params["transformer"]["positions"]
    old = np.asarray(taught.params["transformer"]["positions"])
    assert new.shape == (config.sequence_length, config.width)
    np.testing.assert_array_equal(new[0], old[0])
    np.testing.assert_array_equal(new[-32:], old[-32:])
    for frame, time in enumerate((0, 0, 1, 2, 2, 2, 3)):
        np.testing.assert_allclose(
            new[1 + 5 * frame : 6 + 5 * frame], old[[1 + OBJECTS * time] * 5], atol=1e-6
        )
    # The blind see nothing, whatever is put before them.
    slots = np.random.default_rng(3).normal(size=(2, 7, 5, SIZE)).astype("f4")
    question, choice = EXAMPLE.words[:2], np.zeros((2, 12), np.int32)
    said = [
        jax.jit(ALOE(config).apply)({"params": params}, of_slots, question, choice).answer_logits
        for of_slots in (slots, 0 * slots)
    ]
    np.testing.assert_array_equal(*said)


def test_other_videos_of_true_objects_are_only_scaled_otherwise(taught):
    told = make_truth(np.random.default_rng(2), 20)[0]
    true, other = reasoner.standardization(taught.reads), as_truth(told)
    reading = transfer.rescaling(other, true)
    np.testing.assert_allclose(other(told) @ reading.kernel + reading.bias, true(told), atol=1e-4)


@pytest.mark.parametrize(
    "seen, change, message",
    [
        ("both", {"num_layers": 3}, "config.model.num_layers is 3, taught has 2: give both the same form"),
        ("both", {"word_size": 15}, "config.model.word_size is 15, taught has 14"),
        (
            "both",
            {"form": "relative", "word_size": 16, "slot_hidden_size": 0},
            "'relative' has one input for words and slots",
        ),
        (
            "latents",
            {"slot_hidden_size": 0},
            "slot_hidden_size is 0: it must be above 0, such as 128, to read slots",
        ),
        ("truth", {}, "slot_hidden_size is 8: it must be above 0, such as 128, to read slots, and 0 for"),
    ],
)
def test_another_form(taught, seen, change, message):
    form = dataclasses.replace(FORM, slot_hidden_size=8)
    with pytest.raises(ValueError, match=re.escape(message)):
        transfer.check(dataclasses.replace(form, **change), seen, taught)
    transfer.check(
        dataclasses.replace(form, dropout=0.2, num_slots=7, feature_size=9),
        seen.replace("truth", "both"),
        taught,
    )


def test_only_a_reasoner_of_the_truth_teaches(taught):
    other = taught._replace(reads=dataclasses.replace(taught.reads, features="both"))
    with pytest.raises(ValueError, match="taught has not read the truth itself but both"):
        transfer.check(dataclasses.replace(FORM, slot_hidden_size=8), "both", other)


def test_a_model_whose_slots_cannot_be_drawn_is_refused_before_anything_is_made(monkeypatch, tmp_path):
    own = Trained(Toy(ToyConfig()), {}, None, {}, "mine")
    monkeypatch.setattr(sources, "open_model", lambda name: own)
    config = clevrer_vqa.get_config("simulated,taught")
    config.data_dir = str(tmp_path / "data")
    with pytest.raises(ValueError, match=r"mine: \S+:Toy has no slots that can be decoded one by one"):
        sources.prepare(config)
    assert not (tmp_path / "data").exists()


def test_what_the_variants_begin_with_fits_them():
    for variant in ("simulated,taught", "simulated,taught,latents"):
        config = clevrer_vqa.get_config(variant)
        found = transfer.open_taught(config)
        assert found.trained_on["features"] == "truth" and found.trained_on["simulated"]
        assert found.trained_on["scores"]["descriptive"]["per_question"] > 0.85
        assert found.model.config.num_frames == config.num_frames
    config.model.num_layers = 5
    with pytest.raises(
        ValueError, match=r"config.model.num_layers is 5, \S+truth_reasoner.safetensors has 6"
    ):
        answering.train_and_evaluate(config, "nowhere")


def test_the_truth_first_and_then_slots(run_program, data_dir, tmp_path):
    data = data_dir
    own = build.make_config("simulated_clevrer_qa", "quickstart", **OPTIONS)
    build.build("simulated_clevrer_qa", own, data, jobs=1, progress=False)
    run, true, row = (tmp_path / name for name in ("run", "true", "row"))
    write_run(run, data)
    config = clevrer_vqa.get_config("quickstart,truth")
    config.data_dir, config.videos = str(data), f"simulated_clevrer/{DATA_NAME}"
    config.questions, config.references = f"simulated_clevrer_qa/{QUESTIONS}", ()
    config.model.num_layers, config.num_steps, config.batch_size = 1, 2, 8
    answering.train_and_evaluate(config, true)

    config.features, config.features_of, config.taught_by = "both", str(run), str(true)
    config.model.slot_hidden_size = 16
    config.references, config.learning_rate, config.num_steps = ("blind",), 1e-9, 1
    record = answering.train_and_evaluate(config, row)
    assert record["taught_by"] == str(true)
    begun, found = reasoner.open_reasoner(str(true)), reasoner.open_reasoner(str(row))
    for name in ("embedding", "answer_head"):
        jax.tree.map(
            lambda old, new: np.testing.assert_allclose(old, new, atol=1e-6),
            begun.params[name],
            found.params[name],
        )
    assert found.params["slot_input"]["kernel"].shape != begun.params["slot_input"]["kernel"].shape
    # It began with what it was taught: other layers, and no checkpoint, than from scratch.
    config.taught_by = ""
    with pytest.raises(ValueError, match="taught_by"):
        answering.train_and_evaluate(config, row)

    code, output = run_program("-m", "experiments.ask", f"--reasoner={true}", "How many objects are moving?")
    assert code == 2 and output.count("\n") == 1
    assert "reads the true objects of simulated scenes and sees no video" in output
