"""Asking about a video: what is answered, what it is worth, what is drawn, and how wrong use is refused."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import oddn_jax
from data_pipelines.builders.simulated_clevrer_qa.truths import scene_truth
from data_pipelines.simulator.questions.generation import question_scenes
from data_pipelines.video import read_video
from experiments import ask, command_line
from experiments.runs import checkpoints, trained
from experiments.runs.scenes import show
from experiments.vqa import asking, extraction, reasoner
from oddn_jax.reasoning import ALOE, ALOEConfig, vocabulary
from tests.experiments.untrained import write_run

COUNT = "How many objects are moving?"
CAUSE = "Which of the following is responsible for the collision between the cube and the sphere?"
CHOICES = ("the presence of the gray cube", "the cylinder's entrance", "the sphere's exit")
RECORD = {"questions": "simulated_clevrer_qa/quickstart", "simulated": True, "num_train_videos": 5}
SCORES = {"descriptive": {"n": 4, "per_question": 0.25}, "count": {"n": 4, "per_question": 0.25}}


@pytest.fixture(scope="module")
def made(data_dir, tmp_path_factory):
    """A model, and a reasoner of its slots beside it; neither is trained."""
    folder = tmp_path_factory.mktemp("ask")
    write_run(folder / "model", data_dir)
    found = trained.open_trained(run=str(folder / "model"))
    size = found.model.config.latent_size + found.model.config.dynamics_size
    config = ALOEConfig.preset(
        "quickstart", size, num_layers=2, num_frames=4, num_slots=found.model.config.num_slots
    )
    generator = np.random.default_rng(0)
    reads = reasoner.Reads(
        features="both",
        model=str(folder / "model"),
        params_sha256=checkpoints.digest(found.params),
        source_stride=4,
        stride=4,
        num_frames=10,
        frame_stride=0,
        mean=tuple(generator.normal(size=size).tolist()),
        scale=tuple(generator.uniform(0.5, 2, size).tolist()),
    )
    params = ALOE(config).initialize(jax.random.key(0))
    # Learned positions are small at first: large ones make the order of the slots matter.
    params["transformer"]["positions"] = 50 * params["transformer"]["positions"]
    (folder / "row").mkdir()
    reasoner.save(folder / "row", config, params, reads, RECORD | {"scores": SCORES, "references": {}})
    return folder


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "a.gif"
    pixels = np.random.default_rng(0).integers(0, 256, (7, 18, 25, 3), np.uint8)
    frames = [Image.fromarray(frame) for frame in pixels]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        command_line.run_tool(ask.main, ask.arguments, ["ask.py", *map(str, arguments)])
    said = capsys.readouterr()
    return caught.value.code, said.out, said.err


def test_answers_are_what_the_reasoner_says_of_what_the_model_sees(made, video, tmp_path, capsys):
    asked = (COUNT, CAUSE, *(f"--choice={choice}" for choice in CHOICES))
    options = (f"--input={video}", f"--reasoner={made / 'row'}", f"--output={tmp_path}", "--json")
    code, out, err = call(capsys, *asked, *options)
    assert code == 0, err
    found = json.loads(out)
    assert call(capsys, *asked, *options)[1] == out

    model, params = oddn_jax.load(made / "row" / reasoner.FILE)
    reads = oddn_jax.read_provenance(made / "row" / reasoner.FILE)["reads"]
    seen = trained.open_trained(run=str(made / "model"))
    frames = read_video(video, seen.model.config.image_height, seen.model.config.image_width, crop=True)
    arrays = extraction.look_at(seen, 1, frames[None], [0])
    numbers = np.concatenate([arrays["latents"], arrays["dynamics"]], -1)[0, [0, 2, 4, 6]]
    slots = ((numbers - np.array(reads["mean"])) * np.array(reads["scale"])).astype("f4")
    slots = jnp.asarray(slots[:, ::-1])  # their order does not matter
    question = jnp.asarray(vocabulary.encode_question(COUNT))
    apply = jax.jit(model.apply, static_argnames="method")
    logits = apply({"params": params}, slots[None], question[None], method="answer")[0]
    shares = jax.nn.softmax(logits[1:])
    count, cause = found["answers"]
    assert count["answer"] == vocabulary.ANSWERS[int(shares.argmax())]
    np.testing.assert_allclose(
        [count["probabilities"][answer] for answer in vocabulary.ANSWERS], shares, atol=1e-5
    )
    choices = jnp.array([vocabulary.encode_choice(choice) for choice in CHOICES])[None]
    question = jnp.asarray(vocabulary.encode_question(CAUSE))
    logits = apply({"params": params}, slots[None], question[None], choices, method="judge")[0]
    said = [entry["probability"] for entry in cause["choices"]]
    np.testing.assert_allclose(said, jax.nn.sigmoid(logits), atol=1e-5)
    assert [entry["is_correct"] for entry in cause["choices"]] == (np.array(logits) > 0).tolist()
    assert found["trained_on"] == RECORD | {"scores": SCORES}
    with Image.open(tmp_path / "attention.png") as picture:
        assert picture.size[0] > picture.size[1] / 2


def test_people_read_the_answer_the_runner_up_and_what_it_is_worth(made, tmp_path, run_program):
    code, output = run_program(
        "-m",
        "experiments.ask",
        COUNT,
        CAUSE,
        f"--choice={CHOICES[0]}",
        f"--reasoner={made / 'row' / reasoner.FILE}",
        f"--output={tmp_path}",
    )
    assert code == 0, output
    assert re.search(rf"{re.escape(COUNT)}\n  \w+ +\d+%  \(then \w+, \d+%\)\n", output)
    assert re.search(rf"{re.escape(CAUSE)}\n  (yes|no) +\d+%  {CHOICES[0]}\n", output)
    assert "trained on 5 videos of simulated_clevrer_qa/quickstart, *simulated*" in output
    assert "where it answers 25% of the descriptive questions" in output and "a simulated scene" in output


def test_examples_are_of_the_kinds_that_are_asked(capsys):
    code, out, _ = call(capsys)
    assert code == 0
    truths = ((index, scene_truth("quickstart", 0, index)) for index in range(40))
    known = {
        (question["question"], question["question_type"])
        for scene in question_scenes([(index, truth) for index, truth in truths if truth], 0)
        for question in scene["questions"]
    }
    assert len(known) > 300
    for text, kind in known:
        assert (kind == "descriptive") == (
            not asking.parse([text], [] if kind == "descriptive" else CHOICES)[0].choices
        )
    for text in asking.EXAMPLES:
        assert f'"{text}"' in out
        vocabulary.encode_question(text)
    assert sum(text in dict(known) for text in asking.EXAMPLES) >= 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["How many spheers are moving?"], "unknown word 'spheers': the nearest known ones are spheres"),
        (["How many xqzw?"], "unknown word 'xqzw': no known one is like it"),
        (["?"], "'?' has no words"),
        ([CAUSE, "--choice="], "--choice= is empty"),
        (["how " * 21], "has 21 words, at most 20 fit"),
        ([CAUSE], "is answered by choices: give some, as --choice="),
        (
            [COUNT, "--choice=the cube's exit"],
            "--choice is for questions of what is responsible or what will",
        ),
        ([CAUSE, "--choice=the cat's exit"], "unknown word"),
        ([COUNT, "--reasoner=quickstart"], "quickstart holds ODDN, which answers no questions"),
        ([COUNT, "--reasoner=nowhere"], "nowhere: no such file, nor the name of a bundled model"),
        (
            [COUNT, "--reasoner={made}/model"],
            "has no reasoner.safetensors: `python -m experiments.clevrer_vqa",
        ),
        ([COUNT, "--reasoner={made}/row", "--model=quickstart"], "and quickstart has other parameters"),
        ([COUNT, "--reasoner={made}/row", "--input=nothing.mp4"], "nothing.mp4: no such file or folder"),
        ([COUNT, "--reasoner={made}/row", "--input={video}", "--start=4"], "reads 4 frames, the video has 3"),
        ([COUNT, "--start=-1"], "--start=-1 must be at least 0"),
    ],
)
def test_wrong_use_is_one_line(made, video, capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    filled = [argument.replace("{made}", str(made)).replace("{video}", str(video)) for argument in arguments]
    code, out, err = call(capsys, *filled)
    assert code == 2 and not out
    last = [line for line in err.splitlines() if not line.startswith("[")][-1]
    assert message in last and err.count("ask: ") == 1
    assert not (tmp_path / "runs").exists()


def test_frames_are_as_far_from_each_other_as_in_training(made, tmp_path, run_program):
    """Of a scene; those of the reasoner's videos, not those of its model's."""
    taken = reasoner.open_reasoner(str(made / "row"))
    reads = dataclasses.replace(taken.reads, source_stride=2)
    reasoner.save(tmp_path, taken.model.config, taken.params, reads, taken.trained_on)
    code, output = run_program(
        "-m", "experiments.ask", COUNT, f"--reasoner={tmp_path}", f"--output={tmp_path}", "--json"
    )
    assert code == 0, output
    assert "a simulated scene, 10 frames of 16x16" in output  # of 19; every fourth would be 10 as well
    found = trained.open_trained(run=str(made / "model"))
    frames = show(found, None, 0, None, reads.num_frames, reads.source_stride).source_frame
    np.testing.assert_array_equal(frames, 2 * np.arange(10))


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"scores": None}, "does not tell its scores: take a reasoner that clevrer_vqa wrote"),
        ({"mean": (1.0,)}, "it scales 1 numbers and reads 8"),
    ],
)
def test_reasoners_that_do_not_say_enough(made, tmp_path, facts, message):
    taken = reasoner.open_reasoner(str(made / "row"))
    reads = dataclasses.replace(taken.reads, **{k: v for k, v in facts.items() if k == "mean"})
    record = {name: fact for name, fact in taken.trained_on.items() if name not in ("reads", *facts)}
    record |= {"reads": dataclasses.asdict(reads)}
    path = tmp_path / "a.safetensors"
    oddn_jax.save(path, taken.model.config, taken.params, model=ALOE, provenance=record)
    with pytest.raises(ValueError, match=message):
        reasoner.open_reasoner(str(path))


def test_a_reasoner_is_no_model_of_videos(made):
    with pytest.raises(ValueError, match="holds ALOE, which is no model of videos"):
        trained.open_trained(export=str(made / "row" / reasoner.FILE))
