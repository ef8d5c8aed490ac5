"""Exported models, options and features as they lie in folders: what a hand or another version may have changed."""

import dataclasses
import json
import pathlib
import re

import jax
import numpy as np
import safetensors
import safetensors.numpy

import oddn_jax
from experiments import config as configs
from experiments.config import VQAConfig
from experiments.runs import run_folder
from experiments.vqa import config as vqa_config
from experiments.vqa import feature_files
from oddn_jax.export import checksum, header_checksum
from tests.experiments.tiny import get_config
from tests.fuzz.fuzzing import Target


def _write_exports(folder: pathlib.Path) -> list[pathlib.Path]:
    paths = []
    for system in ("ODDN", "PROVIDE", "SRVP", "MONet"):
        config, model = get_config(system).model, oddn_jax.MODELS[system]
        shapes = jax.eval_shape(model(config).initialize, jax.random.key(0))
        params = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.5, leaf.dtype), shapes)
        paths.append(folder / f"{system}.safetensors")
        oddn_jax.save(paths[-1], config, params, model=model, provenance={"step": 3, "data": {"name": "a"}})
    return paths


def _read_export(path: pathlib.Path) -> None:
    oddn_jax.load(path)
    oddn_jax.read_provenance(path)


def _write_headers(folder: pathlib.Path) -> list[pathlib.Path]:
    """The headers of such files, as JSON, beside the files."""
    headers = []
    for path in _write_exports(folder):
        with safetensors.safe_open(path, "numpy") as file:
            header = dict(file.metadata())
        content = {name: json.loads(header[name]) for name in ("config", "provenance")}
        headers.append(folder / f"{path.stem}.json")
        headers[-1].write_text(json.dumps({"model": header["model"], **content}))
    return headers


def _read_header(path: pathlib.Path) -> None:
    """Loads the arrays of a good file with this header, whose checksums are right."""
    try:
        header = dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError, RecursionError):
        raise ValueError(f"{path}: no header to begin with") from None
    good = {entry.stem: entry for entry in path.parent.glob("*.safetensors")}
    arrays = safetensors.numpy.load(good.get(str(header.get("model")), good["ODDN"]).read_bytes())
    texts = {"format": "oddn_jax", "format_version": "1", "arrays_sha256": checksum(arrays)}
    for name, value in header.items():
        text = value if name == "model" and isinstance(value, str) else json.dumps(value)
        texts[re.sub("[\ud800-\udfff]", "?", name)] = re.sub("[\ud800-\udfff]", "?", text)
    texts["sha256"] = header_checksum(texts)
    made = path.with_name(f"{path.name}.safetensors")
    made.write_bytes(safetensors.numpy.save(arrays, metadata=texts))
    _read_export(made)


def _write_training(folder: pathlib.Path) -> list[pathlib.Path]:
    paths = [folder / f"{system}.json" for system in ("ODDN", "PROVIDE", "SRVP", "MONet")]
    for path in paths:
        path.write_text(json.dumps(configs.to_json(get_config(path.stem))))
    return paths


def _write_answering(folder: pathlib.Path) -> list[pathlib.Path]:
    path = folder / "answering.json"
    path.write_text(json.dumps(dataclasses.asdict(VQAConfig())))
    return [path]


def _read_training(path: pathlib.Path) -> None:
    _check(path, configs.from_json, lambda config: configs.check(config, num_devices=1))


def _read_answering(path: pathlib.Path) -> None:
    _check(path, vqa_config.from_json, vqa_config.check)


def _check(path: pathlib.Path, from_json, check) -> None:
    """Reads a run folder, and checks its options as a training does."""
    workdir = path.with_name(f"run of {path.name}")
    workdir.mkdir(exist_ok=True)
    (workdir / "config.json").write_bytes(path.read_bytes())
    config = run_folder.load_config(workdir, from_json)
    run_folder.fingerprint(config)
    try:
        check(config)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _write_features(folder: pathlib.Path) -> list[pathlib.Path]:
    path = folder / "features" / feature_files.MANIFEST
    path.parent.mkdir()
    identity = {"model": "ODDN", "config": {}, "shard_size": 2}
    manifest = {"format": feature_files.FORMAT, "identity": identity, "splits": {"train": 1}}
    path.write_text(json.dumps(manifest | {"extracted_with": "quickstart", "source_stride": 4}))
    arrays = {"latents": np.zeros((1, 2, 3, 4), np.float32), "scene_index": np.zeros(1, np.int32)}
    shard = path.with_name("train-00000-of-00001.safetensors")
    feature_files.write_shard(shard, arrays, feature_files.digest_of(identity))
    copied = folder / "features.json"
    copied.write_bytes(path.read_bytes())
    return [copied]


def _read_features(path: pathlib.Path) -> None:
    folder = path.parent / "features"
    (folder / feature_files.MANIFEST).write_bytes(path.read_bytes())
    feature_files.read_split(folder, "train")


EXPORT = Target(_read_export, _write_exports, (ValueError,))
HEADER = Target(_read_header, _write_headers, (ValueError,), is_json=True)
TRAINING = Target(_read_training, _write_training, (ValueError,), is_json=True)
ANSWERING = Target(_read_answering, _write_answering, (ValueError,), is_json=True)
FEATURES = Target(
    _read_features, _write_features, (ValueError, FileNotFoundError), is_json=True, names_file=False
)
