"""save and load: a model's parameters and configuration in one safetensors file that any framework can read.

Arrays are named by their path (`decoder/conv_0/kernel`), in float32, or in float16 for half the size. The header holds
strings: `format`, `format_version`, `model` (the class, as `model_name` calls it), `config` and `provenance` (JSON
objects), `arrays_sha256` (of the arrays) and `sha256` (of all the other strings, so of every byte that matters).
Loading never executes code.
"""

import contextlib
import dataclasses
import hashlib
import importlib.resources
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors

from oddn_jax.arrays import safetensors_bytes
from oddn_jax.config import without_former_options
from oddn_jax.fields import check_fields, shorten
from oddn_jax.model import ODDN
from oddn_jax.models import find_model, model_name
from oddn_jax.reasoning import ALOE
from oddn_jax.records import parse_record
from oddn_jax.video_model import VideoModel

FORMAT = "oddn_jax"
FORMAT_VERSION = 1

BUNDLED = importlib.resources.files("oddn_jax") / "bundled"


def bundled_models() -> list[str]:
    """The names of the models that come with this release, for `load`."""
    return sorted(
        file.name.removesuffix(".safetensors")
        for file in BUNDLED.iterdir()
        if file.name.endswith(".safetensors")
    )


def flatten_params(params: Mapping) -> dict[str, Any]:
    """Nested parameters as one dictionary, names joined by slashes.

    Raises:
      ValueError: two of them get the same name, which has a slash in a part of it.
    """
    flat: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name in flat:
            raise ValueError(f"params: {name} is there twice")
        flat[name] = leaf
    return flat


def unflatten_params(arrays: Mapping[str, Any]) -> dict:
    """The inverse of `flatten_params`."""
    params: dict = {}
    for name, array in arrays.items():
        *path, last = name.split("/")
        node = params
        for part in path:
            node = node.setdefault(part, {})
        node[last] = array
    return params


def checksum(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, shapes and bytes of the arrays, by name."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].shape} {arrays[name].dtype.str}\n".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def header_checksum(header: Mapping[str, str]) -> str:
    """SHA-256 over all strings of the header but `sha256`, where it is kept."""
    covered = {name: value for name, value in header.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(covered, sort_keys=True).encode()).hexdigest()


def save(
    path: str | os.PathLike,
    config: Any,
    params: Mapping,
    *,
    model: type[VideoModel] | type[ALOE] = ODDN,
    provenance: Mapping | None = None,
    half: bool = False,
) -> None:
    """Writes a model to one file; a file of that name is replaced only when the new one is complete.

    Args:
      path: usually ends in `.safetensors`.
      config: the model's.
      params: nested dictionary of its arrays, of JAX or NumPy, in any order in memory; kept in float32.
      model: the class that takes them: one of `MODELS`, your own at the top of a module, or `reasoning.ALOE`.
      provenance: JSON-able facts on where the parameters come from (data, commit, step, seed, metrics).
      half: keeps them in float16, with 11 bits each; they are float32 again where they are read.

    Raises:
      ValueError: the config is none of such a model, the parameters are not those of one or not finite, or the
        provenance is no JSON.
      OSError: the file cannot be written.
    """
    path = Path(path)
    name = model.__name__ if model is ALOE else model_name(model)
    if not isinstance(config, model.Config):
        raise ValueError(f"config is a {type(config).__name__}, {name} wants a {model.Config.__name__}")
    _check_config(config)
    kept = np.float16 if half else np.float32
    arrays = {name: _to_float(value, name, kept) for name, value in flatten_params(params).items()}
    _check_arrays(arrays, _expected_arrays(model(config)), "params")
    try:
        facts = json.dumps(dict(provenance or {}), allow_nan=False)
        parse_record(facts)  # reading is stricter: no name twice, no endless nesting
    except (TypeError, ValueError) as error:
        raise ValueError(f"the provenance cannot be written as JSON ({error})") from error
    header = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "model": name,
        "config": json.dumps(dataclasses.asdict(config)),
        "provenance": facts,
        "arrays_sha256": checksum(arrays),
    }
    header["sha256"] = header_checksum(header)
    write_whole(path, safetensors_bytes(arrays, header))


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all, readable as the umask says; where it is a link, what that points to.

    Raises:
      FileNotFoundError: its folder is missing.
      OSError: it cannot be written.
    """
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: no folder {path.parent}; make it first")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: str | os.PathLike) -> tuple[VideoModel | ALOE, dict]:
    """Reads a model written by `save`.

    Args:
      path: a file, or the name of a bundled model. A file of that very name goes first, so that what a program names
        is never taken from elsewhere because a release bundles more.

    Returns:
      The module as saved, and its parameters as a nested dictionary of JAX arrays, for the methods of `VideoModel` and
      for `model.apply(model.to_variables(params), ...)`. A model of your own is found once its module is imported.

    Raises:
      FileNotFoundError: there is no such file, and no bundled model of that name.
      ValueError: the file is no such model: damaged, of an unknown version or model, or with missing, surplus,
        misshapen or non-finite arrays. The message names the file and what is wrong.
    """
    with _find(path) as file:
        header = _read_header(file)
        with _explain_unreadable(file), safetensors.safe_open(file, framework="numpy") as content:
            arrays = {name: content.get_tensor(name) for name in content.keys()}
    if checksum(arrays) != header.get("arrays_sha256"):
        raise ValueError(f"{path}: the arrays do not match the checksum in the header; the file is damaged")
    try:
        model_type = ALOE if header["model"] == ALOE.__name__ else find_model(header["model"])
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    try:
        values = without_former_options(model_type.Config, parse_record(header["config"]))
        config = model_type.Config(**_tuples(values))
        _check_config(config)
        model = model_type(config)
        expected = _expected_arrays(model)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: the configuration in the header is unusable ({error})") from error
    _check_arrays(arrays, expected, str(path))
    whole = {name: array.astype(np.float32) for name, array in arrays.items()}
    return model, unflatten_params(jax.device_put(whole))


def read_provenance(path: str | os.PathLike) -> dict:
    """What the writer of an exported file said of its origin, such as data, step, seed and commit.

    Reads and verifies the header alone, whatever the size of the arrays.

    Raises:
      FileNotFoundError, ValueError: as `load`, but for the arrays.
    """
    with _find(path) as file:
        header = _read_header(file)
    try:
        return parse_record(header["provenance"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: the provenance in the header is unusable ({error})") from error


@contextlib.contextmanager
def _find(path: str | os.PathLike) -> Iterator[Path]:
    """The file that a path or the name of a bundled model means."""
    name, bundled = os.fspath(path), bundled_models()
    if Path(path).is_file():
        yield Path(path)
    elif name in bundled:
        with importlib.resources.as_file(BUNDLED / f"{name}.safetensors") as file:
            yield file
    else:
        raise FileNotFoundError(
            f"{name}: no such file, nor the name of a bundled model ({', '.join(bundled)})"
        )


@contextlib.contextmanager
def _explain_unreadable(file: Path) -> Iterator[None]:
    try:
        yield
    except (safetensors.SafetensorError, OSError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: not a readable safetensors file ({error})") from error


def _read_header(file: Path) -> dict[str, str]:
    """The header of a file of this format, verified by its checksum."""
    with _explain_unreadable(file), safetensors.safe_open(file, framework="numpy") as content:
        header = content.metadata() or {}
    if header.get("format") != FORMAT:
        raise ValueError(f"{file}: a safetensors file, but not one of {FORMAT}")
    if header.get("format_version") != str(FORMAT_VERSION):
        raise ValueError(
            f"{file}: format version {shorten(header.get('format_version'))}, this release reads version "
            f"{FORMAT_VERSION}"
        )
    if header_checksum(header) != header.get("sha256"):
        raise ValueError(f"{file}: the header does not match its checksum; the file is damaged")
    return header


def _check_config(config: Any) -> None:
    """Raises ValueError where a field has another type than its class says, or a value that cannot work."""
    check_fields(config)
    if hasattr(config, "validate"):
        config.validate()


def _tuples(value: Any) -> Any:
    """What JSON wrote as lists was tuples: a config must be hashable."""
    if isinstance(value, dict):
        return {name: _tuples(entry) for name, entry in value.items()}
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value


def _to_float(value: Any, name: str, kept: type) -> np.ndarray:
    array = np.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(
            f"params: {name} is {array.dtype}{list(array.shape)}, expected floating-point numbers"
        )
    with np.errstate(over="ignore"):  # `_check_arrays` says so
        return array.astype(kept)


def _expected_arrays(model: VideoModel | ALOE) -> dict[str, jax.ShapeDtypeStruct]:
    return flatten_params(jax.eval_shape(lambda: model.initialize(jax.random.key(0))))


def _check_arrays(
    arrays: Mapping[str, np.ndarray], expected: Mapping[str, jax.ShapeDtypeStruct], where: str
) -> None:
    kept = "float16" if all(array.dtype == np.float16 for array in arrays.values()) else "float32"
    for name in sorted(expected.keys() | arrays.keys()):
        if name not in arrays:
            raise ValueError(f"{where}: {name} is missing")
        if name not in expected:
            raise ValueError(f"{where}: {name} is no parameter of the model")
        array, shape = arrays[name], expected[name].shape
        if array.shape != shape or array.dtype != kept:
            raise ValueError(
                f"{where}: {name} is {array.dtype}{list(array.shape)}, expected {kept}{list(shape)}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{where}: {name} holds values that are not finite")
