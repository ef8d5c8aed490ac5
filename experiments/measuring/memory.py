"""What a training step needs of a device's memory, for each way to compute it, and how long it takes at best."""

import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from experiments.config import TrainConfig, longest_clip
from experiments.machine.fitting import device_limit
from experiments.measuring import roofline
from experiments.measuring.ahead_of_time import compile_training_step, mesh_of, training_inputs
from experiments.measuring.cards import Card
from experiments.measuring.speed import peak_bytes
from experiments.runs.logs import say
from experiments.training import steps

CHOICES = {"remat": ("none", "step"), "compute_dtype": ("float32", "bfloat16")}


def measure_memory(
    config: TrainConfig,
    devices: list[jax.Device],
    card: Card | None,
    *,
    find_largest: bool,
    only: str = "",
) -> list[dict[str, Any]]:
    """A row for each way to compute a training step of the longest clips.

    Args:
        devices: that share the batch; of this machine, or to compile for.
        card: what they are, if they are not here.
        find_largest: look for the largest batch, which compiles two steps more for each row.
        only: ways to compute as "step,float32", the others are left out; empty: all that the model has.

    Returns:
        rows: `remat`, `compute_dtype`; bytes on one device, `parameters`, `optimizer` (its moments), `batch`,
        `activations` (all intermediate results) and `total`; `share`, the bytes that JAX may use, and `fits`;
        `largest_batch` over all devices, None where it was not looked for; `compile_seconds`; for cards that are not
        here what `roofline.predict` gives; for devices that are, `peak`: the most bytes that the device has had in use
        after one step, on the CPU of the whole process.

    Raises:
        ValueError: `only` is no way to compute this model.
    """
    mesh, share = mesh_of(devices), card.share if card else available_bytes()
    rows, compiled_steps = [], []
    for changes in ways(config, only):
        changed = dataclasses.replace(config, model=dataclasses.replace(config.model, **changes))
        say(f"compiling a training step, {describe(changes)}")
        began = time.perf_counter()
        compiled = compile_training_step(changed, mesh)
        row = changes | needs(changed, mesh, compiled) | {"share": share}
        row |= {"fits": row["total"] <= share, "compile_seconds": time.perf_counter() - began}
        row["largest_batch"] = None
        if find_largest:
            row["largest_batch"] = largest_batch(
                lambda size, changed=changed: _total(changed, mesh, size),
                config.batch_size,
                row["total"],
                len(devices),
                share,
            )
        if card:
            row |= roofline.predict(changed, compiled.as_text(), card)
        rows.append(row)
        compiled_steps.append((changed, compiled))
    if not card:
        # The smallest first: what a device remembers is the most that it ever had in use.
        for row, (changed, compiled) in sorted(zip(rows, compiled_steps), key=lambda pair: pair[0]["total"]):
            row["peak"] = run_once(changed, mesh, compiled) if row["fits"] else None
    return rows


def ways(config: TrainConfig, only: str = "") -> Iterator[dict[str, str]]:
    """The values of `remat` and `compute_dtype` that a model has.

    Raises:
        ValueError: `only` names none of them.
    """
    known = {name: values for name, values in CHOICES.items() if hasattr(config.model, name)}
    found = [{}]
    for name, values in known.items():
        found = [way | {name: value} for way in found for value in values]
    wanted = [way for way in found if only in ("", ",".join(way.values()))]
    if not wanted:
        raise ValueError(
            f"--only={only} is not one of {', '.join(repr(','.join(way.values())) for way in found)}"
        )
    yield from wanted


def describe(way: dict[str, str]) -> str:
    """A way to compute in words."""
    return ", ".join(f"{name} {value}" for name, value in way.items()) or "as it is"


def needs(config: TrainConfig, mesh: Mesh, compiled: jax.stages.Compiled) -> dict[str, int]:
    """Bytes on one device, by what they hold."""
    state, video, ids = training_inputs(config, mesh)
    plan = compiled.memory_analysis()
    # What a step is given and what it makes of it share their memory: it consumes its state.
    results = plan.output_size_in_bytes - plan.alias_size_in_bytes
    return {
        "parameters": _bytes(state.params),
        "optimizer": _bytes(state.opt_state),
        "batch": _bytes((video, ids)) // mesh.size,
        "activations": plan.temp_size_in_bytes,
        "total": plan.argument_size_in_bytes + results + plan.temp_size_in_bytes,
    }


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _total(config: TrainConfig, mesh: Mesh, batch_size: int) -> int:
    say(f"compiling it for {batch_size} clips")
    config = dataclasses.replace(config, batch_size=batch_size)
    return needs(config, mesh, compile_training_step(config, mesh))["total"]


def largest_batch(
    total: Callable[[int], float], batch_size: int, at_batch_size: float, unit: int, limit: float
) -> int:
    """The most clips whose step needs no more than `limit` bytes; 0 where not even the fewest do.

    Needs grow in proportion to the clips. So a second size gives a first guess, which is compiled, and made smaller
    until it fits; a larger one that would fit, too, is not looked for.

    Args:
        total: bytes for a number of clips.
        batch_size: a number of clips whose bytes, `at_batch_size`, are known.
        unit: the clips must be a multiple of it.
        limit: in bytes.
    """
    other = max(batch_size // unit // 2, 1) * unit
    if other == batch_size:
        other = 2 * batch_size
    a_clip = (total(other) - at_batch_size) / (other - batch_size)
    guess = int(batch_size + (limit - at_batch_size) / a_clip) // unit * unit
    while guess > 0 and (at_batch_size if guess == batch_size else total(guess)) > limit:
        guess -= unit
    return max(guess, 0)


def run_once(config: TrainConfig, mesh: Mesh, compiled: jax.stages.Compiled) -> int | None:
    """Runs a step on random pictures; the most bytes that the first device has had in use, of all that ran so far."""
    optimizer = steps.make_optimizer(config)
    state = jax.jit(lambda: steps.initial_state(config, optimizer))()
    state = jax.device_put(state, jax.sharding.NamedSharding(mesh, steps.REPLICATED))
    size = (config.model.image_height, config.model.image_width, 3)
    video = np.random.default_rng(0).random((config.batch_size, longest_clip(config), *size), np.float32)
    batch = {"video": video, "example_id": np.arange(config.batch_size)}
    jax.block_until_ready(compiled(state, *steps.place(batch, mesh)))
    return peak_bytes()


def available_bytes() -> float:
    """The memory that JAX may use of the first device; on the CPU this machine's."""
    return device_limit() or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
