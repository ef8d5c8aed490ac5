"""The slots that a model sees in every frame of every video, in files.

A folder holds `features.json`, what they are and whose, and for each split shards of `latents` f32[v t k l],
`dynamics` f32[v t k d] where the model has some, and `scene_index` i32[v]. Shards are safetensors files: arrays need no
more, anybody reads them, and equal arrays are equal bytes. A shard appears when it is complete.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from safetensors import SafetensorError, safe_open

from data_pipelines import clips
from data_pipelines.claims import claim
from data_pipelines.datasets import Split, dataset_summary, open_split
from data_pipelines.progress import Progress
from data_pipelines.whole_files import whole_file
from experiments import config as configs
from experiments.config import DataConfig
from experiments.machine import compiled
from experiments.runs import checkpoints, datasets, run_folder
from experiments.runs.clips import RULES
from experiments.runs.logs import say
from experiments.runs.trained import Trained
from oddn_jax import VideoModel
from oddn_jax.arrays import safetensors_bytes
from oddn_jax.fields import shorten
from oddn_jax.models import model_name
from oddn_jax.records import parse_record

FORMAT = 3
MANIFEST = "features.json"
MOST_FILES = 100_000  # of a split; each is looked for
SHARD_SIZE = 64  # videos; 5 MB of CLEVRER's, and what a killed extraction loses at most
AT_ONCE = 16  # videos, on accelerators; a core has enough with one

Arrays = dict[str, np.ndarray]


class ClipRule(NamedTuple):
    """Which clip of a video is taken, of frames as far apart as in training."""

    name: str  # a key of `runs.clips.RULES`; without the limit of the paper's evaluation
    num_frames: int


def default_folder(data_dir: str, model: str, data: str) -> pathlib.Path:
    """Where the features of a model, by its folder, file or name, on a data set NAME/CONFIG are kept."""
    label = model.removesuffix(".safetensors").strip("/.").replace("/", "-")
    return pathlib.Path(data_dir, "features", label, data.replace("/", "-"))


def extract(
    found: Trained,
    data: DataConfig,
    folder: pathlib.Path,
    splits: Sequence[str] | None = None,
    limit: int | None = None,
    shard_size: int | None = None,
    clip: ClipRule | None = None,
) -> dict[str, int]:
    """Extracts the features of whole splits, as far as they are not there yet; returns the videos of each split.

    Latents are the posterior's mean. Dynamics of a frame are distilled from it and the frame `data.stride` source
    frames before, the gap of training; those of the first frames are zero. What a video gives hangs on itself alone.

    Source: paper, section 4.3; the gap is our choice, the paper does not tell it.

    Args:
        splits: None takes all that the data set has or, where it is simulated, can have.
        limit: only the first so many videos of each split.
        shard_size: videos of a file; None takes that of the folder, or `SHARD_SIZE`.
        clip: one clip of each video instead, in which the slots begin anew; videos without one are left out.

    Raises:
        FileNotFoundError, ValueError: the data set is missing or does not suit, or the folder holds other features.
    """
    splits = splits or datasets.available_splits(data)
    dataset_dir = datasets.find(data, found.model.config, splits)
    summaries = {split: dataset_summary(dataset_dir, split) for split in splits}
    summary = next(iter(summaries.values()))
    gap = clips.stored_gap(data.stride, summary.source_stride)
    if shard_size is None:
        begun = (folder / MANIFEST).exists()
        shard_size = read_manifest(folder)["identity"]["shard_size"] if begun else SHARD_SIZE
    opened = {split: open_split(dataset_dir, split) for split in splits}
    taken = {
        split: _choose(of_split, summaries[split].num_frames, gap, clip, limit)
        for split, of_split in opened.items()
    }
    numbers = {split: len(of_split) for split, of_split in taken.items()}
    identity = {
        "model": model_name(type(found.model)),
        "config": dataclasses.asdict(found.model.config),
        "params_sha256": checkpoints.digest(found.params),
        "data": f"{data.name}/{data.config}",
        "simulator": summary.card,
        "stride": data.stride,
        "clip": clip and clip._asdict(),
        "shard_size": shard_size,
    }
    with claim(folder, wait=True):  # two that need the same features: the second finds them made
        stride = data.stride if clip else summary.source_stride
        digest = _digest(_write_manifest(folder, identity, numbers, stride, found))
        look = functools.partial(look_at, found, 1 if clip else gap)
        todo = {}
        for split, number in numbers.items():
            starts = dict(zip(_shards(folder, split, number, shard_size), range(0, number, shard_size)))
            todo[split] = {path: start for path, start in starts.items() if not path.exists()}
        remaining = sum(
            min(shard_size, numbers[split] - start) for split, of in todo.items() for start in of.values()
        )
        lengths = [clip.num_frames] if clip else {of_split.num_frames for of_split in summaries.values()}
        say(
            f"{folder}: {sum(numbers.values()) - remaining} videos are there, {remaining} to do, "
            f"{'/'.join(map(str, sorted(lengths)))} frames each"
        )
        progress = Progress("extracting", remaining, "videos")
        try:
            for split, shards in todo.items():
                for path, start in shards.items():
                    of_shard = taken[split][start : start + shard_size]
                    arrays = _extract_shard(look, opened[split], of_shard, progress)
                    _write_shard(path, arrays, digest)
        finally:
            progress.close()
    return numbers


def look_at(found: Trained, gap: int, videos: np.ndarray, scene_indices: Sequence[int]) -> Arrays:
    """The features of videos u8[v t h w 3].

    Frames `gap` apart make a video of their own, so that its dynamics are those of training: every model of videos can
    be asked in this way.

    Raises:
        ValueError: the model has no slots.
    """
    arrays: Arrays = {}
    # One key for all phases: with `share_noise` an object then keeps its slot through all of the video.
    keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(0)))(np.asarray(scene_indices))
    number, num_frames = videos.shape[:2]
    for phase in range(min(gap, num_frames)):
        of_phase = videos[:, phase::gap]
        seen = jax.device_get(_look(found.model, found.params, of_phase, keys))
        if seen["latents"] is None:
            raise ValueError(f"{type(found.model).__name__} has no slots to extract")
        for name, values in seen.items():
            if values is not None:
                first = of_phase.shape[1] - values.shape[1]  # dynamics begin with the second frame
                shape = number, num_frames, *values.shape[2:]
                whole = arrays.setdefault(name, np.zeros(shape, np.float32))
                whole[:, phase::gap][:, first:] = values
    return arrays


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
    paths = _shards(folder, split, manifest["splits"][split], manifest["identity"]["shard_size"])
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise FileNotFoundError(
            f"{folder}: {len(missing)} of {len(paths)} files of the {split} split are missing, {missing[0].name} is "
            f"the first: go on with the command that began, see {MANIFEST}"
        )
    parts = [_read_shard(path, _digest(manifest["identity"])) for path in paths]
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


def _write_manifest(
    folder: pathlib.Path, identity: dict, numbers: dict[str, int], source_stride: int, found: Trained
) -> dict:
    """Returns the identity that the folder's files carry: as it was first written, perhaps by an earlier version."""
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


def _comparable(value: Any) -> Any:
    """A part of an identity without the options that came later, where they say what models did before."""
    if not isinstance(value, dict):
        return value
    return {
        name: of for name, of in value.items() if (f"model.{name}", of) not in configs.LATER_OPTIONS.items()
    }


def _shards(folder: pathlib.Path, split: str, number: int, shard_size: int) -> list[pathlib.Path]:
    count = -(-number // shard_size)
    return [folder / f"{split}-{place:05d}-of-{count:05d}.safetensors" for place in range(count)]


def _choose(
    split: Split, num_frames: int, gap: int, clip: ClipRule | None, limit: int | None
) -> list[tuple[int, slice]]:
    """The videos that are looked at, by their place, and their frames."""
    if clip is None:
        return [(place, slice(0, num_frames)) for place in range(len(split.entries))][:limit]
    rule = RULES[clip.name] | {"limit": limit}
    chosen = clips.choose(split.entries, split.source_stride, clip.num_frames, gap, **rule)
    if not chosen:
        raise ValueError(f"{split.label} has no clip of {clip.num_frames} frames by the rule {clip.name!r}")
    span = clips.clip_span(clip.num_frames, gap)
    return [(place, slice(start, start + span, gap)) for place, start in chosen]


@compiled.jit(static_argnums=0)
def _look(model: VideoModel, params: Any, videos: jax.Array, keys: jax.Array) -> dict[str, jax.Array | None]:
    seen = model.look(params, videos / np.float32(255), keys)
    return {"latents": seen.latents, "dynamics": seen.dynamics}


def _extract_shard(
    look: Callable, split: Split, taken: Sequence[tuple[int, slice]], progress: Progress
) -> Arrays:
    at_once = 1 if jax.default_backend() == "cpu" else AT_ONCE
    parts = []
    for start in range(0, len(taken), at_once):
        now = taken[start : start + at_once]
        records = [split.records[place] for place, _ in now]
        videos = np.stack([record["video"][frames] for record, (_, frames) in zip(records, now)])
        indices = np.array([record["scene_index"] for record in records], np.int32)
        filled = np.resize(np.arange(len(now)), at_once)  # one shape, one compilation
        seen = look(videos[filled], indices[filled])
        parts.append({name: values[: len(now)] for name, values in seen.items()} | {"scene_index": indices})
        for _ in now:
            progress.advance()
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _write_shard(path: pathlib.Path, arrays: Arrays, digest: str) -> None:
    # One entry: several would be written in any order.
    header = {"identity_sha256": digest, "arrays_sha256": checkpoints.digest(arrays)}
    with whole_file(path) as partial:
        partial.write_bytes(safetensors_bytes(arrays, {"features": json.dumps(header)}))


def _read_shard(path: pathlib.Path, digest: str) -> Arrays:
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


def _digest(identity: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
