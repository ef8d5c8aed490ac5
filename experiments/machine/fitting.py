"""How steps are fitted into a device's memory: what is chosen unless it is named, and what to choose instead."""

import os
import re
from collections.abc import Iterator
from typing import Any

import jax

from experiments.config import TrainConfig
from oddn_jax.inference import chosen_remat

# Memory of a training step by (remat, compute_dtype), over that of ("none", "float32"): the prediction preset, 12 clips
# of 8 frames, by XLA's plan for an RTX 3090 (docs/speed_and_memory.md).
SHARES = {
    ("none", "float32"): 1.0,
    ("step", "float32"): 0.2,
    ("none", "bfloat16"): 0.52,
    ("step", "bfloat16"): 0.1,
}
MARGIN = 0.9  # of the memory, for what is not in a plan: our choice


def chosen(model: Any) -> dict[str, Any]:
    """How a model is computed here: its options that change nothing beyond rounding, automatic ones as chosen."""
    options = ("compute_dtype", "remat", "unroll", "recompute")
    found = {name: getattr(model, name) for name in options if hasattr(model, name)}
    if "remat" in found:
        found["remat"] = chosen_remat(model)
    return found


def explain_choice(config: TrainConfig) -> str | None:
    """What a run says at its start of a choice that nobody named; None where it is the CPU's usual one."""
    if getattr(config.model, "remat", None) != "auto" or chosen_remat(config.model) == "none":
        return None
    return (
        f"config.model.remat is {chosen_remat(config.model)!r} on this device, so that the paper's batch fits 24 GB in "
        "float32: the backward pass computes each refinement again. Where `python -m experiments.memory` says that "
        "'none' fits, --config.model.remat=none saves a fifth of the operations"
    )


def explain_exhaustion(config: TrainConfig, error: str, limit: float | None, num_devices: int) -> str:
    """One line for a step that did not fit, with the setting that would.

    Args:
        error: XLA's message, which says how much it wanted.
        limit: bytes that JAX may use of a device; None where nobody knows.
        num_devices: that share the batch.
    """
    wanted = wanted_bytes(error)
    line = f"config.batch_size {config.batch_size} does not fit the device"
    if wanted is None or limit is None:
        others = [f"--config.model.{name}={value}" for name, value in _further(config)]
        return f"{line}: lower --config.batch_size" + (f", or set {', or '.join(others)}" if others else "")
    line += f": a step wants {wanted / 2**30:.1f} GiB of {limit / 2**30:.1f}"
    for changes, needed in settings(config, wanted, MARGIN * limit, num_devices):
        named = " ".join(f"--config.{name}={value}" for name, value in changes.items())
        return f"{line}; {named} would take about {needed / 2**30:.1f} GiB"
    return f"{line}, and not even one clip a device would fit: take more devices, or a smaller model"


def settings(
    config: TrainConfig, wanted: float, limit: float, num_devices: int
) -> Iterator[tuple[dict[str, Any], float]]:
    """Changes that bring a step from the bytes that it wants below a limit, the least ones first, and their bytes.

    First what changes no result beyond rounding, then what rounds coarser, then fewer clips.
    """
    model = config.model
    now = _share(*(chosen(model).get(name) for name in ("remat", "compute_dtype")))
    changes: dict[str, Any] = {}
    least = wanted
    for name, value in _further(config):
        changes[f"model.{name}"] = value
        then = chosen(model) | {name.removeprefix("model."): change for name, change in changes.items()}
        least = wanted * _share(then.get("remat"), then.get("compute_dtype")) / now
        if least <= limit:
            yield dict(changes), least
    fewer = int(limit / least * config.batch_size) // num_devices * num_devices
    if 0 < fewer < config.batch_size:
        yield changes | {"batch_size": fewer}, least * fewer / config.batch_size


def _further(config: TrainConfig) -> list[tuple[str, str]]:
    """The options of a model that make its steps smaller and are not set yet."""
    now = chosen(config.model)
    smaller = {"remat": "step", "compute_dtype": "bfloat16"}
    return [(name, value) for name, value in smaller.items() if now.get(name, value) != value]


def _share(remat: str | None, compute_dtype: str | None) -> float:
    if compute_dtype == "float64":
        return 2 * _share(remat, "float32")
    return SHARES[remat or "none", compute_dtype or "float32"]


def wanted_bytes(error: str) -> float | None:
    """What XLA says that it could not have, in bytes; None where it does not say."""
    found = re.search(r"allocat\w* (?:\w+ )?([\d.]+) ?([KMGT]?i?B|bytes)", error)
    if found is None:
        return None
    units = {"bytes": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
    return float(found[1]) * units[found[2]] if found[2] in units else None


def device_limit() -> float | None:
    """Bytes that JAX may use of the first device; None on the CPU."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("bytes_limit")


def available_memory() -> int:
    """Bytes that this machine's processes may still take; Linux counts what it holds of files, which it can drop."""
    try:
        with open("/proc/meminfo") as file:
            words = dict(line.split(":", 1) for line in file)
        return 1024 * int(words["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):  # not Linux
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
