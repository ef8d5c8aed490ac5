"""The records that a run folder opens with: config.json and versions.json. A folder belongs to one config."""

import contextlib
import hashlib
import importlib.metadata
import json
import pathlib
import platform
import subprocess
from collections.abc import Callable, Collection
from typing import Any

import jax

import oddn_jax
from data_pipelines.claims import claim
from data_pipelines.whole_files import whole_file
from experiments import config as configs
from experiments.config import TrainConfig
from experiments.machine.fitting import chosen
from experiments.runs.checkpoints import FOLDER
from oddn_jax.config import FORMER_OPTIONS, ODDNConfig
from oddn_jax.records import parse_record

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "mujoco-core")


def open_run(
    workdir: pathlib.Path,
    config: Any,
    from_json: Callable[[dict], Any] = configs.from_json,
    resumable: Collection[str] = configs.RESUMABLE_FIELDS,
) -> list[str]:
    """Writes the records of a run that starts or goes on, and returns what has changed since it began, a line each.

    versions.json says how it is computed, too, where that was chosen automatically.

    As long as there is no checkpoint there is nothing to go on from, and any config may start.

    Args:
        config: a TrainConfig, or another dataclass with its `from_json`.
        resumable: the options that may differ.

    Raises:
        ValueError: the folder belongs to a run whose config differs in more than where, how long and how often.
    """
    changes = []
    if (workdir / "config.json").exists() and any((workdir / FOLDER).glob("[0-9]*")):
        before, now = configs.flatten(load_config(workdir, from_json)), configs.flatten(config)
        different = {name for name in now.keys() | before.keys() if now.get(name) != before.get(name)}
        changes = [
            f"config.{name} was {before.get(name)!r}, is {now.get(name)!r}" for name in sorted(different)
        ]
        fixed = different.difference(resumable)
        if fixed:
            lines = ", ".join(
                f"{name} ({before.get(name)!r}, now {now.get(name)!r})" for name in sorted(fixed)
            )
            raise ValueError(f"{workdir} holds a run with another config: {lines}; choose another --workdir")
    if jax.process_index() == 0:
        workdir.mkdir(parents=True, exist_ok=True)
        write_json(workdir / "config.json", configs.to_json(config))
        write_json(workdir / "versions.json", versions() | {"computation": chosen(config.model)})
    return changes


def hold(workdir: str | pathlib.Path) -> contextlib.AbstractContextManager[None]:
    """Keeps a run folder for this run, whose first process speaks for all, while the block lasts.

    Raises:
        BlockingIOError: another run is at work there.
    """
    return claim(workdir) if jax.process_index() == 0 else contextlib.nullcontext()


def load_config(
    workdir: str | pathlib.Path, from_json: Callable[[dict], Any] = configs.from_json
) -> TrainConfig:
    """Reads the config of a run; with another `from_json`, of a run of another kind.

    Raises:
        FileNotFoundError: the folder is no run folder.
        ValueError: its config.json is broken or of another version.
    """
    path = pathlib.Path(workdir, "config.json")
    if not path.exists():
        raise FileNotFoundError(f"{workdir} is no run folder: it has no config.json")
    try:
        return from_json(parse_record(path.read_bytes()))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None


def load_versions(workdir: str | pathlib.Path) -> dict:
    """Reads what `versions` recorded when the run last started; nothing where the record is missing or broken."""
    try:
        return parse_record(pathlib.Path(workdir, "versions.json").read_bytes())
    except (OSError, ValueError):
        return {}


def fingerprint(config: Any, resumable: Collection[str] = configs.RESUMABLE_FIELDS) -> str:
    """The SHA-256 sum of every option that must not change while a run goes on.

    Options that came later count where they differ from what runs without them did; those that are gone count as
    what all models do now. So checkpoints of earlier versions stay those of the same config.
    """
    former = FORMER_OPTIONS if isinstance(getattr(config, "model", None), ODDNConfig) else {}
    fixed = {f"model.{name}": value for name, value in former.items()} | {
        name: value
        for name, value in configs.flatten(config).items()
        if name not in resumable and (name, value) not in configs.LATER_OPTIONS.items()
    }
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()


def versions() -> dict:
    """Packages, Python, devices and commit, for the record."""
    packages = {"oddn_jax": oddn_jax.__version__}
    for name in PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            packages[name] = None
    devices = jax.devices()
    return {
        "packages": packages,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "processes": jax.process_count(),
        "commit": _commit(),
    }


def _commit() -> str | None:
    """The commit of a clone; None for a copy, though it may lie in somebody's repository, as an installed one does."""
    here = pathlib.Path(__file__)
    git = ["git", "-C", str(here.parent)]
    try:
        subprocess.run(
            [*git, "ls-files", "--error-unmatch", here.name], capture_output=True, check=True, timeout=10
        )
        command = [*git, "describe", "--always", "--abbrev=40", "--dirty"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def write_json(path: pathlib.Path, values: dict) -> None:
    """Writes a JSON file whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(values, indent=2) + "\n")
