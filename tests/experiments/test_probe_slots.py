"""What slots say of their objects: samples by hand, fits against scikit-learn, the program on a trained model."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, r2_score

from data_pipelines import build
from data_pipelines.datasets import open_split
from experiments import command_line, probe_slots
from experiments.evaluation import network_probes, slot_contents
from experiments.evaluation.linear_probes import RIDGE
from experiments.evaluation.slot_contents import ATTRIBUTES, Samples, read, read_slots, take_samples
from experiments.runs.clips import Clips
from oddn_jax import MODELS, Seen, save
from tests.experiments import tiny
from tests.experiments.tiny import DATA_NAME


@pytest.fixture(autouse=True)
def quick_networks(monkeypatch):
    """Networks that are hardly fitted; how well they fit: test_network_probes."""
    monkeypatch.setattr(network_probes, "NUM_STEPS", 100)


def test_samples_are_of_slots_that_keep_their_object():
    """Three frames, three slots, two objects: the first keeps slot 1 throughout, the second changes from 2 to 0."""
    overlap = np.zeros((3, 3, 3))
    overlap[:, 1, 1] = 0.9
    overlap[:2, 2, 2] = overlap[2, 2, 0] = 0.6
    latents = np.arange(3 * 3 * 2.0).reshape(3, 3, 2) ** 2
    dynamics = np.arange(2 * 3 * 4.0).reshape(2, 3, 4)
    attributes = np.array([[1, 0, 2], [7, 1, 0], [0, 0, 0]])
    motions = np.random.default_rng(0).normal(size=(3, 3, 2, 2))
    is_seen, object_id = np.ones((3, 3), bool), np.array([0, 1, -1])
    taken = take_samples(overlap, latents, dynamics, is_seen, object_id, attributes, motions)
    rows = [(1, 1, 0), (1, 2, 1), (2, 1, 0)]  # frame, slot, object
    assert taken.num_objects == 4
    np.testing.assert_array_equal(taken.numbers["latents"], [latents[t, s] for t, s, _ in rows])
    np.testing.assert_array_equal(
        taken.numbers["change"], [latents[t, s] - latents[t - 1, s] for t, s, _ in rows]
    )
    np.testing.assert_array_equal(taken.numbers["dynamics"], [dynamics[t - 1, s] for t, s, _ in rows])
    np.testing.assert_array_equal(taken.attributes, [attributes[n] for _, _, n in rows])
    np.testing.assert_array_equal(taken.motions, [motions[t, n] for t, _, n in rows])
    is_seen[0, 0] = False  # the first object is out of view in the first frame
    fewer = take_samples(overlap, latents, None, is_seen, object_id, attributes, motions)
    assert fewer.num_objects == 3 and len(fewer.motions) == 2 and set(fewer.numbers) == {"latents", "change"}


def make_samples(num_clips=8, per_clip=80):
    """Latents that hold colour and position, changes that hold velocity, both with noise; dynamics that hold none."""
    random = np.random.default_rng(0)
    mixing = random.normal(size=(len(ATTRIBUTES["color"]) + 2, 12))
    found = []
    for _ in range(num_clips):
        attributes = np.stack(
            [random.integers(len(values), size=per_clip) for values in ATTRIBUTES.values()], -1
        )
        motions = random.normal(2.0, [[3.0], [1.0]], (per_clip, 2, 2))
        held = np.concatenate([np.eye(len(ATTRIBUTES["color"]))[attributes[:, 0]], motions[:, 0]], 1)
        noise = random.normal(0, 0.5, (per_clip, 12))
        numbers = {
            "latents": held @ mixing + noise,
            "change": motions[:, 1] @ mixing[-2:, :4] + noise[:, :4],
            "dynamics": random.normal(size=(per_clip, 4)),
        }
        found.append(Samples(numbers, attributes, motions, per_clip + 10))
    return found


def test_fits_are_scikit_learns():
    samples = make_samples()
    found = read(samples)
    assert (found["num_fitted"], found["num_tested"]) == (320, 320)
    assert found["tracked"] == pytest.approx(8 / 9)
    (x, colors, motions), (test_x, test_colors, test_motions) = (
        [
            np.concatenate(columns)
            for columns in zip(*((c.numbers["latents"], c.attributes[:, 0], c.motions) for c in part))
        ]
        for part in (samples[:4], samples[4:])
    )
    mean, deviation = x.mean(0), x.std(0)
    x, test_x = (x - mean) / deviation, (test_x - mean) / deviation
    known = LogisticRegression(C=1 / (RIDGE * len(x)), tol=1e-8, max_iter=10_000).fit(x, colors)
    color = found["read"]["latents"]["color"]
    assert color["mean"] == pytest.approx(accuracy_score(test_colors, known.predict(test_x)), abs=1e-9)
    assert color["n"] == 4 and color["mean"] > 0.6
    for place, name in enumerate(slot_contents.MOTIONS):
        other = Ridge(alpha=RIDGE * len(x)).fit(x, motions[:, place]).predict(test_x)
        expected = r2_score(test_motions[:, place], other, multioutput="variance_weighted")
        assert found["read"]["latents"][name] == pytest.approx(expected, abs=1e-9)
    assert found["read"]["latents"]["position"] > 0.8 > 0.2 > found["read"]["latents"]["velocity"]
    assert found["read"]["change"]["velocity"] > 0.5
    assert all(abs(found["read"][name]["velocity"]) < 0.2 for name in ("nothing", "dynamics"))
    by_network = found["read_by_network"]
    assert set(by_network) == {"latents", "change", "dynamics"}
    assert by_network["latents"]["color"]["mean"] > 0.5 and by_network["latents"]["position"] > 0.7
    assert by_network["change"]["velocity"] > 0.4 > by_network["latents"]["velocity"]
    shown = slot_contents.table(found)
    assert shown.index("linear maps of") < shown.index("nothing") < shown.index("networks of")


def test_nothing_is_the_most_frequent_class_and_the_mean():
    samples = make_samples()
    read_off = read(samples)["read"]["nothing"]
    for column, name in enumerate(ATTRIBUTES):
        fitted, tested = (
            np.concatenate([clip.attributes[:, column] for clip in part])
            for part in (samples[:4], samples[4:])
        )
        assert read_off[name]["mean"] == pytest.approx((tested == np.bincount(fitted).argmax()).mean())
    assert read_off["position"] == pytest.approx(0, abs=0.05)


def test_too_few_samples_are_said():
    with pytest.raises(ValueError, match="30 times in the first half of the clips and 30 times in the other"):
        read(make_samples(num_clips=2, per_clip=30))
    with pytest.raises(ValueError, match="no clip has a known segmentation"):
        read([])


def test_without_known_motions_attributes_are_read():
    """As the real CLEVRER, which publishes no camera."""
    samples = [clip._replace(motions=np.full_like(clip.motions, np.nan)) for clip in make_samples()]
    known = read(make_samples())["read"]["latents"]
    latents = read(samples)["read"]["latents"]
    assert latents == known | {"position": None, "velocity": None}
    assert slot_contents.table(read(samples)).splitlines()[-1].split()[-2:] == ["-", "-"]


def test_slots_of_clips_are_read(data_dir):
    """A model that knows the masks, and whose latents are the place of each label in the picture."""
    path = build.dataset_path("simulated_clevrer", DATA_NAME, data_dir)
    opened = open_split(path, "validation")
    stored = np.stack([opened.records[n]["segmentation"][:10] for n in range(8)])

    def look(params, video, example_id):
        masks = jax.nn.one_hot(jnp.asarray(stored)[example_id], 4, axis=2)[..., None]
        weight = masks[..., 0] / jnp.maximum(masks.sum((-3, -2, -1))[..., None, None], 1)
        column, row = jnp.arange(video.shape[3]), jnp.arange(video.shape[2])[:, None]
        return Seen(
            video,
            slot_masks=masks,
            latents=jnp.stack([(weight * x).sum((-2, -1)) for x in (column, row)], -1),
        )

    clips = Clips(path, "validation", "first", 10, 4)
    samples = read_slots(look, {}, clips, batch_size=3)
    assert len(samples) == 8 and sum(len(clip.motions) for clip in samples) > 50
    for place, clip in enumerate(samples):
        objects = opened.records[place]["objects"]
        true = {tuple(int(objects[name][n]) for name in ATTRIBUTES) for n in range(len(objects["color"]))}
        assert {tuple(row) for row in clip.attributes.tolist()} <= true
        # Of objects that nothing hides, the middle of the mask is near where the simulator says.
        away = np.linalg.norm(clip.numbers["latents"] - clip.motions[:, 0], axis=-1)
        assert not len(away) or np.nanmedian(away) < 1.5


def test_a_broken_model_is_said(data_dir):
    path = build.dataset_path("simulated_clevrer", DATA_NAME, data_dir)

    def look(params, video, example_id):
        masks = jnp.ones((*video.shape[:2], 4, *video.shape[2:4], 1)) / 4
        return Seen(
            video,
            slot_masks=masks,
            latents=jnp.where(example_id == 5, jnp.nan, 0.0)[:, None, None, None] + masks[..., 0, :, 0],
        )

    with pytest.raises(ValueError, match="video 5 of validation is not finite: the model is broken"):
        read_slots(look, {}, Clips(path, "validation", "first", 10, 4), batch_size=3)


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> list[str]:
    """The options for 32 simulated clips of the bundled model's scenes, which its first use simulates."""
    data = build.make_config("simulated_clevrer", "quickstart", num_train=1, num_validation=32).name
    return [f"--data=simulated_clevrer/{data}", f"--data_dir={tmp_path_factory.mktemp('data')}"]


def run_probe(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        command_line.run_tool(probe_slots.main, probe_slots.add_arguments, ["probe_slots.py", *arguments])
    return end.value.code


def test_the_program_reads_the_bundled_model(shown, capsys):
    assert run_probe("--export=quickstart", *shown, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["simulated"] and record["num_clips"] == 32
    assert record["command"].startswith("python -m experiments.probe_slots")
    found = record["read"]
    assert found["latents"]["position"] > 0.6 > 0.1 > found["nothing"]["position"]
    assert found["latents"]["color"]["mean"] > found["nothing"]["color"]["mean"] + 0.1
    assert found["change"]["velocity"] > 0.3
    assert run_probe("--export=quickstart", *shown) == 0
    printed = capsys.readouterr().out
    assert "*simulated*" in printed and f"{found['latents']['position']:.3f}" in printed


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--num_frames=1"], "clips of 1 frame do not change"),
        (["--limit=0"], "--limit must be at least 1, not 0"),
        (["--limit=2"], f"{slot_contents.MIN_SAMPLES} each are needed"),
        (["--clips=paper"], "no .* clip"),
        (["--clips=latest"], "invalid choice"),
    ],
)
def test_bad_input_is_one_line(shown, capsys, arguments, complaint):
    assert run_probe("--export=quickstart", *shown, *arguments) == 2
    assert re.search(complaint, capsys.readouterr().err.splitlines()[-1])


def test_a_model_without_slots_is_said(tmp_path, data_dir, capsys):
    shown = [f"--data=simulated_clevrer/{DATA_NAME}", f"--data_dir={data_dir}"]
    model = MODELS["SRVP"](MODELS["SRVP"].Config(**tiny.SRVP))
    save(tmp_path / "srvp.safetensors", model.config, model.initialize(jax.random.key(0)), model=type(model))
    assert run_probe(f"--export={tmp_path / 'srvp.safetensors'}", *shown) == 2
    assert "the model has no slots to read" in capsys.readouterr().err
