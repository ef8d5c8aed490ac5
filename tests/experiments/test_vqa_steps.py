"""Training steps of the reasoner: batches, losses, and that it learns what can only be seen."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.vqa import batches, questions, readings, steps, training
from experiments.vqa import config as vqa_config
from experiments.vqa.config import VQAConfig, check
from experiments.vqa.features import Standardization, VideoFeatures, pad_slots
from experiments.vqa.loading import join, make_blind
from experiments.vqa.training import Data
from oddn_jax.reasoning import ALOEConfig
from tests.experiments.asked import EXAMPLE, make_questions

SMALL = ALOEConfig(
    feature_size=4,
    num_slots=2,
    num_frames=3,
    num_layers=1,
    num_heads=2,
    head_size=8,
    hidden_size=16,
    head_hidden_size=8,
    word_size=4,
    dropout=0.0,
)
VIDEOS = np.random.default_rng(0).normal(size=(2, 8, 2, 4)).astype("f4")


def make_config(**changes):
    return VQAConfig(model=dataclasses.replace(SMALL), frame_stride=2, num_steps=8, batch_size=6, **changes)


def make_batch(config, asked=EXAMPLE, step=0):
    rows = (asked.scene_index == 9).astype(int)
    mesh = steps_mesh()
    return next(batches.training_batches(config, asked, VIDEOS, rows, step, mesh))


def steps_mesh():
    return jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))


def test_each_epoch_takes_every_question_once_and_resumes_anywhere():
    first = list(itertools.islice(questions.epochs(7, 3, 5, 0), 14))
    counts = np.bincount(np.concatenate(first[:7]), minlength=7)
    np.testing.assert_array_equal(counts, [3] * 7)
    assert sorted(np.concatenate(first)[:7]) == list(range(7))
    for start in (1, 6, 9):
        again = itertools.islice(questions.epochs(7, 3, 5, start), 14 - start)
        np.testing.assert_array_equal(first[start:], list(again))
    other = list(itertools.islice(questions.epochs(7, 3, 6, 0), 7))
    assert not np.array_equal(first[:7], other)
    big = next(questions.epochs(2, 5, 0, 0))  # more than two epochs in one batch
    assert sorted(np.bincount(big)) == [2, 3]


def test_buckets_hold_every_question_once_with_room_for_its_words():
    groups = questions.buckets(EXAMPLE)
    assert [(group.num_choices, len(group.places)) for group in groups] == [
        *((0, 4), (1, 1), (2, 1), (3, 1), (4, 1))
    ]
    assert sorted(np.concatenate([group.places for group in groups])) == list(range(len(EXAMPLE.type)))
    assert [group.question_length for group in groups] == [10] * 5
    assert [group.choice_length for group in groups] == [0, *[6] * 4]
    for group in groups:
        asked = questions.select(EXAMPLE, group.places)
        assert not asked.words[:, group.question_length :].any()
        assert not asked.choice_words[:, :, group.choice_length :].any()
        assert ((asked.choice_id >= 0).sum(1) == group.num_choices).all()
    only = questions.buckets(questions.select(EXAMPLE, EXAMPLE.type == 0))
    assert [group.num_choices for group in only] == [0]


@pytest.mark.parametrize("form", ["absolute", "relative"])
def test_batches_hold_all_buckets_in_the_proportion_of_the_data(form):
    assert batches.batch_sizes(256, [110, 42], 1) == (185, 71)
    assert batches.batch_sizes(256, [110, 42], 8) == (184, 72)
    assert batches.batch_sizes(64, [1000, 1], 1) == (64, 1)
    config = make_config()
    config.model = dataclasses.replace(SMALL, form=form, word_size=2 if form == "relative" else 4)
    batch = make_batch(config)
    lengths = [(10, 0), *[(10, 6)] * 4] if form == "absolute" else [(20, 12)] * 5
    assert [(part.words.shape[1], part.choice_words.shape[2]) for part in batch] == lengths
    assert [part.choice_words.shape[:2] for part in batch] == [(3, 0), (1, 1), (1, 2), (1, 3), (1, 4)]
    for part in batch:
        # Each question comes with its own words, video and target.
        num_choices = part.choice_words.shape[1]
        for row, place in enumerate(np.asarray(part.id)):
            np.testing.assert_array_equal(part.words[row], EXAMPLE.words[place, : part.words.shape[1]])
            np.testing.assert_array_equal(part.videos[row], VIDEOS[int(EXAMPLE.scene_index[place] == 9)])
            wanted = EXAMPLE.is_correct[place, :num_choices] if num_choices else [EXAMPLE.answer[place]]
            np.testing.assert_array_equal(part.target[row], wanted)
    # What is rounded to whole questions weighs as it should: 4 descriptive questions, and 10 choices.
    weights = [float(part.weight.sum()) * max(part.choice_words.shape[1], 1) for part in batch]
    np.testing.assert_allclose(weights, [1, 1 / 10, 2 / 10, 3 / 10, 4 / 10], rtol=1e-6)


def test_a_step_may_look_at_some_choices_of_each_question():
    seen = set()
    for step in range(20):
        batch = make_batch(make_config(choices_per_question=2), step=step)
        assert [part.choice_words.shape[:2] for part in batch] == [(3, 0), (1, 1), (1, 2), (1, 2), (1, 2)]
        for part in batch[1:]:
            place = int(part.id[0])
            length = part.choice_words.shape[2]
            pairs = zip(EXAMPLE.choice_words[place, :, :length].tolist(), EXAMPLE.is_correct[place].tolist())
            known = [(*words, correct) for words, correct in pairs]
            for words, correct in zip(part.choice_words[0].tolist(), part.target[0].tolist()):
                assert (*words, correct) in known
                seen.add((place, *words, correct))
        weights = [float(part.weight.sum()) * max(part.choice_words.shape[1], 1) for part in batch]
        np.testing.assert_allclose(weights, [1, 1 / 10, 2 / 10, 3 / 10, 4 / 10], rtol=1e-6)
    exists = zip(*np.nonzero(EXAMPLE.choice_id >= 0))
    length = (EXAMPLE.choice_words != 0).sum(-1).max()
    assert seen == {
        (place, *EXAMPLE.choice_words[place, choice, :length].tolist(), EXAMPLE.is_correct[place, choice])
        for place, choice in exists
    }
    again = make_batch(make_config(choices_per_question=2), step=19)
    jax.tree.map(np.testing.assert_array_equal, again, batch)


@pytest.mark.parametrize("form", ["absolute", "relative"])
def test_losses_are_means_over_questions_and_over_choices(form):
    # Without dropout and with videos whose frames and slots are all alike, the answers of evaluation give the losses
    # of a batch that holds every question once.
    config = make_config()
    config.model = dataclasses.replace(SMALL, form=form, word_size=2 if form == "relative" else 4)
    config.batch_size = len(EXAMPLE.type)
    params = jax.jit(lambda: steps.initial_state(config, steps.make_optimizer(config)).params)()
    videos = np.broadcast_to(np.arange(4, dtype="f4"), (2, 8, 2, 4))
    rows = np.zeros(len(EXAMPLE.type), int)
    batch = next(batches.training_batches(config, EXAMPLE, videos, rows, 0, steps_mesh()))
    assert sorted(int(place) for part in batch for place in part.id) == list(range(len(EXAMPLE.type)))
    loss, metrics = jax.jit(lambda batch: steps.compute_losses(config, params, batch, jax.random.key(0)))(
        batch
    )
    assert loss == metrics["descriptive_loss"] + metrics["choice_loss"]
    logits = readings.make_answering(config)(params, EXAMPLE, videos, rows)
    losses, rights = ([], []), ([], [])
    for place, of_type in enumerate(EXAMPLE.type):
        if of_type == 0:
            losses[0].append(-jax.nn.log_softmax(logits.answer[place])[EXAMPLE.answer[place]])
            rights[0].append(logits.answer[place].argmax() == EXAMPLE.answer[place])
        for choice in np.flatnonzero(EXAMPLE.choice_id[place] >= 0):
            share, correct = (
                1 / (1 + np.exp(-logits.choice[place, choice])),
                EXAMPLE.is_correct[place, choice],
            )
            losses[1].append(-np.log(share if correct else 1 - share))
            rights[1].append((share > 0.5) == correct)
    measured = readings.mean_losses(logits, EXAMPLE)
    for kind, of_kind, right in zip(("descriptive", "choice"), losses, rights):
        np.testing.assert_allclose(metrics[f"{kind}_loss"], np.mean(of_kind), rtol=2e-5)
        np.testing.assert_allclose(measured[f"{kind}_loss"], np.mean(of_kind), rtol=2e-5)
        np.testing.assert_allclose(metrics[f"{kind}_right"], np.mean(right), rtol=1e-5)


def test_hidden_slots_add_their_loss():
    config = make_config(hidden_slots_weight=0.5)
    config.model.predict_hidden_slots = True
    params = jax.jit(lambda: steps.initial_state(config, steps.make_optimizer(config)).params)()
    measure = jax.jit(lambda batch: steps.compute_losses(config, params, batch, jax.random.key(0)))
    loss, metrics = measure(make_batch(config))
    parts = metrics["descriptive_loss"] + metrics["choice_loss"] + 0.5 * metrics["hidden_slots_loss"]
    np.testing.assert_allclose(loss, parts, rtol=1e-6)
    assert metrics["hidden_slots_loss"] > 0.1


def test_it_learns_what_only_the_video_tells_and_the_blind_one_does_not(tmp_path):
    # One number of one slot says whether there are moving cubes.
    generator = np.random.default_rng(0)
    slots = generator.normal(size=(64, 3, 2, 4)).astype("f4")
    answers = generator.random(64) < 0.5
    slots[:, :, 0, 2] += np.where(answers, 6, -6)[:, None]
    asked = make_questions(
        *[
            (scene, 0, "exist", "Are there any moving cubes?", "yes" if answer else "no")
            for scene, answer in enumerate(answers)
        ]
    )
    data = join(asked, VideoFeatures(slots, np.arange(64, dtype=np.int32)), "train")
    config = VQAConfig(
        model=SMALL,
        frame_stride=1,
        num_steps=60,
        batch_size=32,
        learning_rate=1e-2,
        eval_every=60,
        save_every=60,
    )
    said = {}
    blind, *blind_data = make_blind(config, asked, asked)
    for name, own_config, own_data in (("seeing", config, data), ("blind", blind, blind_data[0])):
        params = training.fit(own_config, tmp_path / name, own_data, own_data)
        predictions = readings.to_predictions(training.answer(own_config, params, own_data))
        said[name] = (predictions.answer == asked.answer).mean()
    assert said["seeing"] > 0.95
    assert said["blind"] == max(answers.mean(), 1 - answers.mean())


def test_interrupted_training_goes_on_as_if_it_had_not_been(tmp_path):
    generator = np.random.default_rng(0)
    asked = questions.select(EXAMPLE, np.array([0, 3, 4, 7]))  # of both kinds, in few forms to compile
    data = Data(asked, generator.normal(size=(1, 8, 2, 4)).astype("f4"), np.zeros(len(asked.type), int))
    every = dict(log_every=2, eval_every=2, save_every=2)
    config = make_config(**every, optimizer="muon")
    config.model.dropout = 0.2
    whole = training.fit(config, tmp_path / "whole", data, data)
    # Killed after step 4: what was saved is there, the rest is not.
    half = tmp_path / "half"
    training.fit(config, half, data, data)
    for step in (6, 8):
        (half / "checkpoints" / str(step)).rename(tmp_path / f"lost_{step}")
    resumed = training.fit(config, half, data, data)
    jax.tree.map(np.testing.assert_array_equal, whole, resumed)
    assert (tmp_path / "whole" / "metrics.jsonl").read_text().count("\n") == (
        half / "metrics.jsonl"
    ).read_text().count("\n")
    with pytest.raises(ValueError, match="holds a run with another config: learning_rate"):
        training.fit(dataclasses.replace(config, learning_rate=0.5), half, data, data)
    with pytest.raises(FloatingPointError, match="is not finite"):
        broken = data._replace(videos=np.full_like(data.videos, np.nan))
        training.fit(config, tmp_path / "broken", broken, data)


def test_muon_turns_the_kernels_of_the_layers_and_adam_the_rest():
    rate = 0.01
    config = make_config(optimizer="muon", learning_rate=rate, warmup_share=0.0)
    optimizer = steps.make_optimizer(config)
    params = steps.initial_state(config, optimizer).params
    generator = np.random.default_rng(0)
    gradients = jax.tree.map(lambda leaf: jnp.asarray(generator.normal(size=leaf.shape), jnp.float32), params)
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    layers = updates["transformer"].pop("layers")
    for kernel in (layers["hidden"]["kernel"], layers["attention"]["query"]["kernel"]):
        values = np.linalg.svd(
            kernel, compute_uv=False
        )  # of each layer; a random matrix's go down to nearly 0
        assert values.min() > 0.5 * values.max()
        assert np.sqrt((kernel**2).mean()) == pytest.approx(rate, rel=0.4)
    plain = optax.adam(rate, nesterov=True)
    wanted, _ = plain.update(gradients, plain.init(params), params)
    of_layers = wanted["transformer"].pop("layers")
    jax.tree.map(
        lambda ours, adams: np.testing.assert_allclose(ours, adams, rtol=1e-4),
        (updates, layers["hidden"]["bias"], layers["attention_norm"]),
        (wanted, of_layers["hidden"]["bias"], of_layers["attention_norm"]),
    )


@pytest.mark.slow
def test_four_devices_train_as_one(run_program, monkeypatch):
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "4")
    code, output = run_program("-m", "tests.experiments.vqa_devices")
    assert code == 0, output
    number, difference = output.split()
    assert number == "4" and float(difference) < 1e-5


def test_features_are_standardized_and_padded():
    generator = np.random.default_rng(0)
    train = VideoFeatures(generator.normal(3, [2.0, 0.5, 0.0], (5, 4, 2, 3)).astype("f4"), np.arange(5))
    valid = train._replace(slots=train.slots[:2] + 1)
    standardize = Standardization.of(train)
    ours, theirs = standardize(train.slots), standardize(valid.slots)
    flat = ours.reshape(-1, 3)
    np.testing.assert_allclose(flat.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(flat.std(0), [1, 1, 0], atol=1e-4)
    np.testing.assert_allclose(
        theirs - ours[:2],
        np.broadcast_to(1 / np.array([*train.slots.std((0, 1, 2))[:2], 1]), (2, 4, 2, 3)),
        rtol=1e-3,
    )
    assert pad_slots(train, 3).slots.shape == (5, 4, 3, 3) and not pad_slots(train, 3).slots[:, :, 2].any()


def test_questions_find_their_videos():
    features = VideoFeatures(np.zeros((3, 2, 1, 1), "f4"), np.array([9, 4, 7], np.int32))
    np.testing.assert_array_equal(join(EXAMPLE, features, "train").rows, [2] * 5 + [0] * 3)
    with pytest.raises(ValueError, match=r"1 videos of the train questions .* the first is scene 9"):
        join(EXAMPLE, features._replace(scene_index=np.array([10, 4, 7], np.int32)), "train")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"features": "pixels"}, "config.features 'pixels' is unknown: take one of both, latents"),
        ({"optimizer": "sgd"}, "config.optimizer 'sgd' is unknown: take one of adam, muon"),
        ({"references": (1, "guess")}, "config.references: 1 is unknown"),
        ({"references": ("guess",)}, "config.references: 'guess' is unknown"),
        ({"num_steps": 0}, "config.num_steps is 0: it must be above 0"),
        ({"frame_stride": -1}, "config.frame_stride is -1: it must be at least 0"),
        ({"warmup_share": 2.0}, "config.warmup_share 2.0 must lie in 0 to 1"),
        ({"videos": "clevrer"}, "config.videos 'clevrer' is no NAME/CONFIG"),
        ({"model": dataclasses.replace(SMALL)}, None),
    ],
)
def test_wrong_options(changes, message):
    config = VQAConfig(**changes)
    if message is None:
        config.model.num_layers, message = 0, "config.model.num_layers=0 must be at least 1"
    with pytest.raises(ValueError, match=message):
        check(config)


def test_configs_survive_their_json():
    config = make_config(references=("majority",))
    values = dataclasses.asdict(config) | {"references": ["majority"]}
    assert vqa_config.from_json(values) == config
    with pytest.raises(ValueError, match="unexpected is not an option of this version"):
        vqa_config.from_json(values | {"unexpected": 1})
