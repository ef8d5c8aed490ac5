"""The files of features: a folder holds what a model saw in the videos of a data set.

A folder holds `features.json`, what they are and whose, and for each split shards of `latents` f32[v t k l],
`dynamics` f32[v t k d] where the model has some, and `scene_index` i32[v]. Shards are safetensors files: arrays need no
more, anybody reads them, and equal arrays are equal bytes. A shard appears when it is complete.
"""

import hashlib
import json
import pathlib
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from data_pipelines.whole_files import whole_file
from experiments import config as configs
from experiments.runs import checkpoints, run_folder
from experiments.runs.trained import Trained
from oddn_jax.arrays import safetensors_bytes
from oddn_jax.fields import shorten
from oddn_jax.records import parse_record

FORMAT = 3
MANIFEST = "features.json"
MOST_FILES = 100_000  # of a split; each is looked for

Arrays = dict[str, np.ndarray]


def default_folder(data_dir: str, model: str, data: str) -> pathlib.Path:
    """Where the features of a model, by its folder, file or name, on a data set NAME/CONFIG are kept."""
    label = model.removesuffix(".safetensors").strip("/.").replace("/", "-")
    return pathlib.Path(data_dir, "features", label, data.replace("/", "-"))


def read_split(folder: pathlib.Path, split: str) -> Arrays:
    """Reads the features of a split: latents, dynamics where there are some, and scene_index.

    Raises:
        FileNotFoundError: there are none, or not all; says which command makes them.
        ValueError: a shard is damaged or of another extraction.
    """
    manifest = read_manifest(folder)
    command = "extract them with `python -m experiments.extract_latents`"
    if split not in manifest["splits"]:
        raise FileNotFoundError(f"{folder} holds no features of the {split} split: {command}")
    paths = shard_paths(folder, split, manifest["splits"][split], manifest["identity"]["shard_size"])
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise FileNotFoundError(
            f"{folder}: {len(missing)} of {len(paths)} files of the {split} split are missing, {missing[0].name} is "
            f"the first: go on with the command that began, see {MANIFEST}"
        )
    parts = [read_shard(path, digest_of(manifest["identity"])) for path in paths]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def read_manifest(folder: pathlib.Path) -> dict[str, Any]:
    """What `features.json` says: identity (model, data, the stride of dynamics), splits (videos), source_stride (of the
    frames), provenance (of the model).

    Raises:
        FileNotFoundError: the folder holds no features.
        ValueError: the file is broken or of another version.
    """
    path = folder / MANIFEST
    try:
        manifest = parse_record(path.read_bytes())
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {shorten(manifest['format'])}, this version reads {FORMAT}")
        for value, kind in (
            (manifest["extracted_with"], str),
            (manifest["source_stride"], int),
            (manifest["identity"]["config"], dict),
        ):
            if not isinstance(value, kind):
                raise ValueError(f"{shorten(value)} is no {kind.__name__}")
        shard_size = manifest["identity"]["shard_size"]
        for size in (shard_size, *manifest["splits"].values()):
            if type(size) is not int or not 1 <= size <= MOST_FILES * shard_size:
                raise ValueError(f"{shorten(size)} is no number of videos")
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f"{folder} holds no features: extract some with `python -m experiments.extract_latents`"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read ({error}): remove the folder and extract again") from None
    return manifest


def has_background(folder: pathlib.Path) -> bool:
    """Whether the first slot is the background's in all frames, by the config of the model that saw them."""
    return bool(read_manifest(folder)["identity"]["config"].get("background_slot", 0))


def write_manifest(
    folder: pathlib.Path, identity: dict, numbers: dict[str, int], source_stride: int, found: Trained
) -> dict:
    """Begins a folder, or goes on with one that holds the same, of more splits perhaps.

    Args:
        identity: what the features are: model, data, stride, clips, size of shards.
        numbers: videos of each split.
        source_stride: source frames from one frame to the next.

    Returns:
        The identity that the folder's files carry: as it was first written, perhaps by an earlier version.

    Raises:
        ValueError: the folder holds other features.
    """
    identity = json.loads(json.dumps(identity))  # tuples are lists there
    splits = numbers
    if (folder / MANIFEST).exists():
        before = read_manifest(folder)
        for key in identity:
            if _comparable(before["identity"].get(key)) != _comparable(identity[key]):
                raise ValueError(
                    f"{folder} holds features with another {key}: remove the folder, or name another for the features"
                )
        identity, splits = before["identity"], before["splits"] | numbers
        for split in before["splits"]:
            if before["splits"][split] != splits[split]:
                raise ValueError(
                    f"{folder} holds features of {before['splits'][split]} {split} videos, not {splits[split]}: "
                    "repeat the --limit, or name another folder"
                )
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "format": FORMAT,
        "extracted_with": found.name,
        "identity": identity,
        "splits": splits,
        "source_stride": source_stride,
        "provenance": dict(found.provenance),
        "versions": run_folder.versions(),
    }
    run_folder.write_json(folder / MANIFEST, content)
    return identity


def shard_paths(folder: pathlib.Path, split: str, number: int, shard_size: int) -> list[pathlib.Path]:
    """The files of a split of so many videos, in order, whether they are there or not."""
    count = -(-number // shard_size)
    return [folder / f"{split}-{place:05d}-of-{count:05d}.safetensors" for place in range(count)]


def write_shard(path: pathlib.Path, arrays: Arrays, digest: str) -> None:
    """Writes a shard whole or not at all.

    Args:
        digest: of the folder's identity.
    """
    # One entry: several would be written in any order.
    header = {"identity_sha256": digest, "arrays_sha256": checkpoints.digest(arrays)}
    with whole_file(path) as partial:
        partial.write_bytes(safetensors_bytes(arrays, {"features": json.dumps(header)}))


def read_shard(path: pathlib.Path, digest: str) -> Arrays:
    """The arrays of a shard.

    Args:
        digest: of the folder's identity.

    Raises:
        ValueError: the file is missing, damaged, or of another extraction.
    """
    try:
        with safe_open(str(path), framework="numpy") as file:
            header = parse_record(file.metadata()["features"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read ({error}): remove it and extract again") from None
    if header.get("identity_sha256") != digest:
        raise ValueError(f"{path} is of another extraction than {MANIFEST} says: remove it and extract again")
    if header.get("arrays_sha256") != checkpoints.digest(arrays):
        raise ValueError(f"{path} is damaged, its checksum is wrong: remove it and extract again")
    return arrays


def digest_of(identity: dict[str, Any]) -> str:
    """SHA-256 of an identity, which each shard carries."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _comparable(value: Any) -> Any:
    """A part of an identity without the options that came later, where they say what models did before."""
    if not isinstance(value, dict):
        return value
    return {
        name: of for name, of in value.items() if (f"model.{name}", of) not in configs.LATER_OPTIONS.items()
    }
