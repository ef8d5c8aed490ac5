"""save and load: a model's parameters and configuration in one safetensors file that any framework can read.

Arrays are named by their path (`decoder/conv_0/kernel`), in float32. The header holds the format version, the
configuration, a checksum of the arrays, and whatever the writer says of their origin. Loading never executes code.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from oddn_jax.config import ODDNConfig
from oddn_jax.model import ODDN

FORMAT = "oddn_jax"
FORMAT_VERSION = 1


def flatten_params(params: Mapping) -> dict[str, Any]:
    """Nested parameters as one dictionary, names joined by slashes."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }


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


def save(
    path: str | os.PathLike, config: ODDNConfig, params: Mapping, *, provenance: Mapping | None = None
) -> None:
    """Writes a model to one file; a file of that name is replaced only when the new one is complete.

    Args:
      path: usually ends in `.safetensors`.
      config: the model's.
      params: nested dictionary of its arrays.
      provenance: JSON-able facts on where the parameters come from (data, commit, step, seed, metrics).

    Raises:
      ValueError: the parameters are not those of such a model, or not finite.
    """
    path = Path(path)
    arrays = {name: np.asarray(value, np.float32) for name, value in flatten_params(params).items()}
    _check_arrays(arrays, config, "params")
    header = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "config": json.dumps(dataclasses.asdict(config)),
        "sha256": checksum(arrays),
        "provenance": json.dumps(dict(provenance or {})),
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(safetensors.numpy.save(arrays, metadata=header))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: str | os.PathLike) -> tuple[ODDN, dict]:
    """Reads a model written by `save`.

    Returns:
      The module, and its parameters as a nested dictionary of JAX arrays: `model.apply({"params": params}, ...)`.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is no such model: damaged, of an unknown version, or with missing, surplus, misshapen or
        non-finite arrays. The message names the file and what is wrong.
    """
    header, arrays = _read(path)
    try:
        config = ODDNConfig(**json.loads(header["config"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: the configuration in the header is unusable ({error})") from error
    _check_arrays(arrays, config, str(path))
    if checksum(arrays) != header.get("sha256"):
        raise ValueError(f"{path}: the arrays do not match the checksum in the header; the file is damaged")
    return ODDN(config), unflatten_params({name: jnp.asarray(array) for name, array in arrays.items()})


def read_provenance(path: str | os.PathLike) -> dict:
    """What the writer of an exported file said of its origin, such as data, step, seed and commit.

    Raises:
      FileNotFoundError, ValueError: as `load`.
    """
    header, _ = _read(path)
    try:
        return dict(json.loads(header["provenance"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: the provenance in the header is unusable ({error})") from error


def _read(path: str | os.PathLike) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Header and arrays of a file of this format, otherwise unchecked."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (safetensors.SafetensorError, OSError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error})") from error
    if header.get("format") != FORMAT:
        raise ValueError(f"{path}: a safetensors file, but not one of {FORMAT}")
    if header.get("format_version") != str(FORMAT_VERSION):
        raise ValueError(
            f"{path}: format version {header.get('format_version')}, this release reads version {FORMAT_VERSION}"
        )
    return header, arrays


def _check_arrays(arrays: Mapping[str, np.ndarray], config: ODDNConfig, where: str) -> None:
    model = ODDN(config)
    expected = flatten_params(
        jax.eval_shape(lambda: model.init(jax.random.key(0), method="initialize_parameters"))["params"]
    )
    for name in sorted(expected.keys() | arrays.keys()):
        if name not in arrays:
            raise ValueError(f"{where}: {name} is missing")
        if name not in expected:
            raise ValueError(f"{where}: {name} is no parameter of the model")
        array, shape = arrays[name], expected[name].shape
        if array.shape != shape or array.dtype != np.float32:
            raise ValueError(
                f"{where}: {name} is {array.dtype}{list(array.shape)}, expected float32{list(shape)}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{where}: {name} holds values that are not finite")
