"""Extracted features: what they are, whose, and that an interrupted extraction ends in the same bytes."""

import dataclasses
import json
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines import clips
from data_pipelines.datasets import VERSION, open_split
from experiments.runs import trained
from experiments.vqa import extraction, feature_files, features
from oddn_jax import ODDN
from tests.experiments.tiny import DATA_NAME
from tests.experiments.untrained import write_run


@pytest.fixture(scope="module")
def found(data_dir, tmp_path_factory):
    """An untrained model, as `trained` finds it."""
    workdir = tmp_path_factory.mktemp("run")
    write_run(workdir, data_dir)
    return trained.open_trained(run=str(workdir))


@pytest.fixture(scope="module")
def folder(found, tmp_path_factory):
    """The features of five training and three validation videos, two in a file."""
    folder = tmp_path_factory.mktemp("extracted") / "features"
    numbers = extraction.extract(found, found.data, folder, ["train"], limit=5, shard_size=2)
    assert numbers == {"train": 5}
    assert extraction.extract(found, found.data, folder, ["validation"], limit=3, shard_size=2) == {
        "validation": 3
    }
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def test_features_are_what_the_model_sees(found, folder, data_dir):
    arrays = feature_files.read_split(folder, "train")
    config = found.model.config
    assert arrays["latents"].shape == (5, 10, config.num_slots, config.latent_size)
    assert arrays["dynamics"].shape == (5, 10, config.num_slots, config.dynamics_size)
    np.testing.assert_array_equal(arrays["scene_index"], range(5))
    assert not arrays["dynamics"][:, 0].any() and arrays["dynamics"][:, 1:].any((-2, -1)).all()
    record = open_split(data_dir / "simulated_clevrer" / DATA_NAME / VERSION, "train").records[3]
    key = jax.random.fold_in(jax.random.key(0), 3)
    seen = jax.jit(found.model.look)(found.params, record["video"][None] / np.float32(255), key[None])
    np.testing.assert_allclose(arrays["latents"][3], seen.latents[0], atol=1e-5)
    np.testing.assert_allclose(arrays["dynamics"][3, 1:], seen.dynamics[0], atol=1e-5)
    for which, size in (
        ("both", config.latent_size + config.dynamics_size),
        ("dynamics", config.dynamics_size),
    ):
        read = features.extracted(folder, "validation", which)
        assert read.slots.shape == (3, 10, config.num_slots, size)
        np.testing.assert_array_equal(read.scene_index, [500_000, 500_001, 500_002])


def test_dynamics_span_the_gap(found, data_dir):
    """Frames a gap apart make a clip of their own: frame n is seen with frame n - 3 before it."""
    video = open_split(data_dir / "simulated_clevrer" / DATA_NAME / VERSION, "train").records[0]["video"][:9]
    arrays = extraction.look_at(found, 3, video[None], [7])
    arrays = {name: values[0] for name, values in arrays.items()}
    assert not arrays["dynamics"][:3].any() and arrays["dynamics"][3:].any((-2, -1)).all()
    distilled = found.model.apply(
        {"params": found.params}, jnp.asarray(arrays["latents"][[4, 7]]), method="distill"
    ).dynamics[0]
    np.testing.assert_allclose(arrays["dynamics"][7], distilled, atol=1e-5)


def test_one_clip_of_each_video(found, folder, data_dir, tmp_path):
    """The first in which objects collide: a model that does not track sees the same in it as in the whole video."""
    clip, taken = extraction.ClipRule("collision", 5), tmp_path / "clips"
    number = extraction.extract(found, found.data, taken, ["train"], limit=2, clip=clip)["train"]
    arrays = feature_files.read_split(taken, "train")
    assert number == 2 and arrays["latents"].shape[:2] == (2, 5)
    assert feature_files.read_manifest(taken)["source_stride"] == found.data.stride
    split = open_split(data_dir / "simulated_clevrer" / DATA_NAME / VERSION, "train")
    gap = clips.stored_gap(found.data.stride, split.source_stride)
    whole = feature_files.read_split(folder, "train")["latents"]
    for row, place in enumerate(arrays["scene_index"]):
        touches = split.entries[place]["collision_frames"]
        start = clips.collision_starts(touches, split.entries[place]["num_frames"], 5, gap)[0]
        taken_frames = whole[place, start : start + clips.clip_span(5, gap) : gap]
        np.testing.assert_allclose(arrays["latents"][row], taken_frames, atol=1e-5)
    with pytest.raises(ValueError, match="holds features with another clip"):
        extraction.extract(found, found.data, taken, ["train"], limit=2)
    with pytest.raises(ValueError, match="has no clip of 5 frames by the rule 'paper'"):
        extraction.extract(
            found, found.data, tmp_path / "none", ["train"], clip=extraction.ClipRule("paper", 5)
        )
    assert not (tmp_path / "none").exists()


def test_objects_keep_their_slots_through_all_phases(found):
    """With `share_noise` frames that are equal are seen alike, whichever frames they are seen with."""
    video = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), np.uint8), 8, axis=0)

    def spread(share_noise):
        model = ODDN(dataclasses.replace(found.model.config, share_noise=share_noise))
        seen = extraction.look_at(found._replace(model=model), 3, video[None], [7])
        return np.ptp(seen["latents"][0], axis=0).max()

    assert spread(True) < 1e-5 < 1e-3 < spread(False)


def test_what_is_there_is_kept_and_the_rest_is_the_same_to_the_byte(
    found, folder, tmp_path, monkeypatch, capsys
):
    other = tmp_path / "features"
    looked = []
    look_at = extraction.look_at

    def failing(found, gap, videos, scene_indices):
        looked.extend(scene_indices)
        if len(looked) == 4:
            raise KeyboardInterrupt
        return look_at(found, gap, videos, scene_indices)

    monkeypatch.setattr(extraction, "look_at", failing)
    with pytest.raises(KeyboardInterrupt):
        extraction.extract(found, found.data, other, ["train"], limit=5, shard_size=2)
    assert list(contents(other)) == ["train-00000-of-00003.safetensors"]
    with pytest.raises(
        FileNotFoundError, match="2 of 3 files of the train split are missing, train-00001-of-00003"
    ):
        feature_files.read_split(other, "train")
    extraction.extract(found, found.data, other, ["train"], limit=5, shard_size=2)
    assert looked == [0, 1, 2, 3, 2, 3, 4]
    assert "2 videos are there, 3 to do, 10 frames each" in capsys.readouterr().err
    wanted = contents(folder)
    assert contents(other) == {name: wanted[name] for name in wanted if name.startswith("train")}


def test_several_videos_at_once_are_seen_as_one_by_one(found, folder, tmp_path, monkeypatch):
    """As on accelerators; the last group is smaller than the others."""
    monkeypatch.setattr(extraction.jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(extraction, "AT_ONCE", 3)
    extraction.extract(found, found.data, tmp_path, ["train"], limit=5)
    together, alone = (feature_files.read_split(of, "train") for of in (tmp_path, folder))
    assert together.keys() == alone.keys()
    for name, values in alone.items():
        np.testing.assert_allclose(together[name], values, atol=1e-4)


def test_whose_features_they_are(found, folder, tmp_path):
    manifest = feature_files.read_manifest(folder)
    assert manifest["identity"]["model"] == "ODDN" and manifest["identity"]["stride"] == found.data.stride
    assert manifest["provenance"]["step"] == 6 and manifest["splits"] == {"train": 5, "validation": 3}
    assert manifest["identity"]["simulator"]["simulator"]
    changed = found._replace(params=jax.tree.map(lambda leaf: leaf + 1, found.params))
    with pytest.raises(
        ValueError, match="holds features with another params_sha256: remove the folder, or name another"
    ):
        extraction.extract(changed, found.data, folder, ["train"], limit=5, shard_size=2)
    with pytest.raises(ValueError, match="holds features of 5 train videos, not 4: repeat the --limit"):
        extraction.extract(found, found.data, folder, ["train"], limit=4, shard_size=2)
    assert feature_files.read_manifest(folder) == manifest


def test_features_of_an_earlier_version_go_on(found, folder, tmp_path):
    """Its manifest lacks an option that came later, and its files carry the sum of what it has."""
    earlier = copied(folder, tmp_path)
    identity = feature_files.read_manifest(folder)["identity"]
    assert identity["config"].pop("num_tracking_steps") == 0
    change(earlier, identity=identity)
    for path in earlier.glob("*.safetensors"):
        arrays = feature_files.read_shard(
            path, feature_files.digest_of(feature_files.read_manifest(folder)["identity"])
        )
        feature_files.write_shard(path, arrays, feature_files.digest_of(identity))
    path.unlink()
    changed = found._replace(model=ODDN(dataclasses.replace(found.model.config, num_tracking_steps=2)))
    with pytest.raises(ValueError, match="holds features with another config"):
        extraction.extract(changed, found.data, earlier, ["train"], limit=5)
    extraction.extract(found, found.data, earlier, ["train"], limit=5)
    extraction.extract(found, found.data, earlier, ["validation"], limit=3)
    for split in ("train", "validation"):
        both = (feature_files.read_split(of, split)["latents"] for of in (earlier, folder))
        np.testing.assert_array_equal(*both)


def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def damage_arrays(folder):
    path = folder / "train-00001-of-00003.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def change(folder, **entries):
    """Changes entries of the manifest; None takes one out."""
    manifest = json.loads((folder / "features.json").read_text()) | entries
    kept = {name: value for name, value in manifest.items() if value is not None}
    (folder / "features.json").write_text(json.dumps(kept))


def exchange(folder):
    manifest = json.loads((folder / "features.json").read_text())
    manifest["identity"]["stride"] += 1
    (folder / "features.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "harm, message",
    [
        (damage_arrays, "train-00001-of-00003.safetensors is damaged, its checksum is wrong"),
        (lambda folder: (folder / "train-00000-of-00003.safetensors").write_bytes(b"x"), "cannot be read"),
        (exchange, "is of another extraction than features.json says"),
        (lambda folder: (folder / "features.json").write_text("{"), "features.json cannot be read"),
        (
            lambda folder: (folder / "features.json").write_text(
                json.dumps({"format": feature_files.FORMAT + 1})
            ),
            f"format {feature_files.FORMAT + 1}, this version reads {feature_files.FORMAT}",
        ),
        (
            lambda folder: (folder / "features.json").write_text(json.dumps({"format": "\n\0"})),
            re.escape(r"format '\n\x00', this version reads"),
        ),
        (lambda folder: (folder / "features.json").unlink(), "holds no features: extract some"),
        (lambda folder: change(folder, extracted_with=None), "features.json cannot be read"),
        (lambda folder: change(folder, source_stride="4"), "features.json cannot be read"),
        (
            lambda folder: change(folder, identity={"config": [], "shard_size": 1}),
            "features.json cannot be read",
        ),
    ],
)
def test_damaged_features(folder, tmp_path, harm, message):
    copy = copied(folder, tmp_path)
    harm(copy)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        feature_files.read_split(copy, "train")
    assert "\n" not in str(caught.value)


def test_a_split_and_a_kind_that_are_not_there(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no features of the test split"):
        feature_files.read_split(folder, "test")
    arrays = feature_files.read_split(folder, "train")
    with pytest.raises(ValueError, match="the model has no dynamics"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(feature_files, "read_split", lambda *_: {"latents": arrays["latents"]})
            features.extracted(folder, "train", "both")


def test_default_folder():
    assert str(feature_files.default_folder("data", "runs/reasoning", "clevrer/64x96")) == (
        "data/features/runs-reasoning/clevrer-64x96"
    )
    assert feature_files.default_folder("d", "models/oddn.safetensors", "a/b").parts[-2] == "models-oddn"
