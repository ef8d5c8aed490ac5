"""What a training step needs of a device's memory, for each way to compute it, and how long it takes at best."""

import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from experiments.config import TrainConfig, longest_clip
from experiments.machine.fitting import device_limit
from experiments.measuring import roofline
from experiments.measuring.ahead_of_time import compile_for, make_training_step, mesh_of, training_inputs
from experiments.measuring.cards import Card
from experiments.measuring.speed import peak_bytes
from experiments.runs.logs import say
from experiments.training.loop import work


class Training(NamedTuple):
    """What is asked of a kind of training; what comes first in each call is its config."""

    inputs: Callable[
        [Any, Mesh], tuple[Any, ...]
    ]  # a `TrainState` and the largest batch, as shapes on the mesh
    make_step: Callable[[Any, Mesh], Callable]  # jitted, and given these
    choices: Mapping[
        str, tuple
    ]  # the options of `config.model` that say how a step is computed, and their values
    num_steps: Callable[[Any], float]  # steps with such a batch that take as long as the whole training


def _num_longest_steps(config: TrainConfig) -> float:
    """Shorter and coarser clips take proportionally less."""
    return sum(work(config, step) for step in range(config.num_steps)) / (
        config.batch_size * longest_clip(config)
    )


VIDEOS = Training(
    training_inputs,
    make_training_step,
    {"remat": ("none", "step"), "compute_dtype": ("float32", "bfloat16")},
    _num_longest_steps,
)


def measure_memory(
    training: Training,
    config: Any,
    devices: list[jax.Device],
    card: Card | None,
    *,
    find_largest: bool,
    only: str = "",
) -> list[dict[str, Any]]:
    """A row for each way to compute a training step with the largest batch.

    Args:
        training: the kind that the config is of.
        devices: that share the batch; of this machine, or to compile for.
        card: what they are, if they are not here.
        find_largest: look for the largest batch, which compiles two or more steps for each row.
        only: ways to compute as "step,float32", the others are left out; empty: all that the model has.

    Returns:
        rows: the options of `training.choices`; bytes on one device, `parameters`, `optimizer` (its moments), `batch`,
        `activations` (all intermediate results) and `total`; `share`, the bytes that JAX may use, and `fits`;
        `largest_batch` over all devices, None where it was not looked for; `compile_seconds`; for cards that are not
        here what `roofline.predict` gives; for devices that are, `peak`: the most bytes that the device has had in use
        after one step, on the CPU of the whole process.

    Raises:
        ValueError: `only` is no way to compute this model.
    """
    mesh, share = mesh_of(devices), card.share if card else available_bytes()
    rows, compiled_steps = [], []
    for changes in ways(config.model, training.choices, only):
        changed = dataclasses.replace(config, model=dataclasses.replace(config.model, **changes))
        say(f"compiling a training step, {describe(changes)}")
        began = time.perf_counter()
        inputs, compiled = _compiled(training, changed, mesh)
        row = changes | needs(inputs, mesh, compiled) | {"share": share}
        row |= {"fits": row["total"] <= share, "compile_seconds": time.perf_counter() - began}
        row["largest_batch"] = None
        if find_largest:
            row["largest_batch"] = largest_batch(
                lambda size, changed=changed: _total(training, changed, mesh, size),
                config.batch_size,
                row["total"],
                len(devices),
                share,
            )
        if card:
            row |= roofline.predict(compiled.as_text(), card, training.num_steps(changed))
        rows.append(row)
        compiled_steps.append((inputs, compiled))
    if not card:
        # The smallest first: what a device remembers is the most that it ever had in use.
        for row, (inputs, compiled) in sorted(zip(rows, compiled_steps), key=lambda pair: pair[0]["total"]):
            row["peak"] = run_once(inputs, compiled) if row["fits"] else None
    return rows


def ways(model: Any, choices: Mapping[str, tuple], only: str = "") -> Iterator[dict[str, Any]]:
    """The values of the options among `choices` that a model's config has.

    Raises:
        ValueError: `only` names none of them.
    """
    found: list[dict[str, Any]] = [{}]
    for name, values in choices.items():
        if hasattr(model, name):
            found = [way | {name: value} for way in found for value in values]
    named = {",".join(str(value).lower() for value in way.values()): way for way in found}
    if only and only not in named:
        raise ValueError(f"--only={only} is not one of {', '.join(map(repr, named))}")
    yield from ([named[only]] if only else found)


def describe(way: dict[str, Any]) -> str:
    """A way to compute in words."""
    return ", ".join(f"{name} {value}" for name, value in way.items()) or "as it is"


def _compiled(training: Training, config: Any, mesh: Mesh) -> tuple[tuple[Any, ...], jax.stages.Compiled]:
    inputs = training.inputs(config, mesh)
    return inputs, compile_for(lambda: training.make_step(config, mesh), inputs, mesh)


def needs(inputs: tuple[Any, ...], mesh: Mesh, compiled: jax.stages.Compiled) -> dict[str, int]:
    """Bytes on one device, by what they hold, of a step that was compiled for a state and a batch."""
    state, *batch = inputs
    plan = compiled.memory_analysis()
    # What a step is given and what it makes of it share their memory: it consumes its state.
    results = plan.output_size_in_bytes - plan.alias_size_in_bytes
    return {
        "parameters": _bytes(state.params),
        "optimizer": _bytes(state.opt_state),
        "batch": _bytes(batch) // mesh.size,
        "activations": plan.temp_size_in_bytes,
        "total": plan.argument_size_in_bytes + results + plan.temp_size_in_bytes,
    }


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _total(training: Training, config: Any, mesh: Mesh, batch_size: int) -> int:
    say(f"compiling it for a batch of {batch_size}")
    inputs, compiled = _compiled(training, dataclasses.replace(config, batch_size=batch_size), mesh)
    return needs(inputs, mesh, compiled)["total"]


def largest_batch(
    total: Callable[[int], float], batch_size: int, at_batch_size: float, unit: int, limit: float
) -> int:
    """The largest batch whose step needs no more than `limit` bytes; 0 where not even the smallest does.

    Needs grow nearly in proportion to the batch. So a second size gives a guess, which is compiled; where it fits, a
    larger one that would fit too is not looked for, and where it does not, the bracket is narrowed to one unit.

    Args:
        total: bytes for a size of the batch.
        batch_size: one whose bytes, `at_batch_size`, are known.
        unit: sizes are multiples of it.
        limit: in bytes.
    """
    other = max(batch_size // unit // 2, 1) * unit
    if other == batch_size:
        other = 2 * batch_size
    known = {batch_size: at_batch_size, other: total(other)}

    def where_it_ends(a: int, b: int) -> int:
        """The size at the limit, were needs a line through those of two sizes."""
        return int(a + (limit - known[a]) * (b - a) / (known[b] - known[a])) // unit * unit

    guess = max(where_it_ends(batch_size, other), 0)
    while guess > 0:
        if guess not in known:
            known[guess] = total(guess)
        low = max((size for size in known if known[size] <= limit), default=0)
        high = min((size for size in known if known[size] > limit), default=None)
        if high is None or high - low <= unit:
            return low
        # The line is good where needs are nearly proportional; halves, by turns, end the search where they are not.
        middle = (low + high) // 2 if len(known) % 2 or not low else where_it_ends(low, high)
        guess = min(max(middle // unit * unit, low + unit), high - unit)
    return 0


def run_once(inputs: tuple[Any, ...], compiled: jax.stages.Compiled) -> int | None:
    """Runs a step on zeros; the most bytes that the first device has had in use, of all that ran so far."""
    zeros = jax.tree.map(lambda leaf: jax.device_put(np.zeros(leaf.shape, leaf.dtype), leaf.sharding), inputs)
    jax.block_until_ready(compiled(*zeros))
    return peak_bytes()


def available_bytes() -> float:
    """The memory that JAX may use of the first device; on the CPU this machine's."""
    return device_limit() or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
