"""How long the runs of a table would take here: known from logs, or from a few steps, timed; otherwise unknown."""

import glob
import os
import pathlib
import re
import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from experiments.config import TrainConfig, VQAConfig, longest_clip
from experiments.machine.fitting import device_limit
from experiments.reproduction.budgets import Entry
from experiments.runs import checkpoints
from experiments.runs.logs import read_rows, say
from experiments.training import steps
from experiments.training.loop import work


class Rate(NamedTuple):
    """How fast a run goes."""

    seconds: float  # for a unit of work: a whole picture, or a question
    compile_seconds: float
    source: str


def table(entries: Sequence[Entry], num_timed_steps: int) -> str:
    """The runs as text: steps done and to do, and the seconds that these would take, and how that is known.

    Args:
        num_timed_steps: of each model that has no log; 0 for none, as they have to be compiled.
    """
    configs = {stage.folder: stage.config for entry in entries for stage in entry.stages}
    width = max(len(str(folder)) for folder in configs) + 2
    lines = [f"{'run':<{width}}{'steps done':>16}   seconds to go"]
    timed: dict[str, Rate | None] = {}
    seconds = []
    for folder, config in configs.items():
        done = min(max(checkpoints.saved_steps(folder), default=0), config.num_steps)
        left, shown = work_left(config, done), "0"
        if left:
            rate = log_rate(folder)
            if rate is None and isinstance(config, TrainConfig) and num_timed_steps:
                model = f"{config.system}{config.model}"
                if model not in timed:
                    timed[model] = timed_rate(config, num_timed_steps)
                rate = timed[model]
            seconds.append(rate and left * rate.seconds + rate.compile_seconds)
            shown = f"{seconds[-1]:,.0f} ({rate.source})" if rate else "unknown: nothing was measured"
        lines.append(f"{folder!s:<{width}}{f'{done} of {config.num_steps}':>16}   {shown}")
    known = [value for value in seconds if value is not None]
    unknown = len(seconds) - len(known)
    lines += [
        f"in all {sum(known):,.0f} s" + (f", and {unknown} runs of unknown cost" if unknown else ""),
        "simulating data, validating and scoring come on top",
    ]
    return "\n".join(lines)


def work_left(config: TrainConfig | VQAConfig, done: int) -> float:
    """Whole pictures, or questions, that a run still has to see."""
    if isinstance(config, TrainConfig):
        return sum(work(config, step) for step in range(done, config.num_steps))
    return config.batch_size * (config.num_steps - done)


def log_rate(folder: pathlib.Path) -> Rate | None:
    """The median rate that a run has logged, or one with another seed."""
    others = sorted(glob.glob(re.sub(r"/seed_\d+", "/seed_*", str(folder))))
    for source in dict.fromkeys([str(folder), *others]):
        rows = [row for row in read_rows(pathlib.Path(source, "metrics.jsonl")) if row["split"] == "train"]
        seconds = [
            row["coarseness"] ** 2 / row["images_per_second"]
            if "coarseness" in row
            else 1 / row["questions_per_second"]
            for row in rows
        ]
        if seconds:
            return Rate(statistics.median(seconds), 0.0, f"by the log of {source}")
    return None


def timed_rate(config: TrainConfig, num_steps: int) -> Rate | None:
    """Compiles a training step of the longest clips, and times some on random pictures; None where they do not fit."""
    say(f"timing {num_steps} steps of {config.system}: compiling")
    mesh, optimizer = steps.make_mesh(), steps.make_optimizer(config)
    model, num_images = config.model, config.batch_size * longest_clip(config)
    shape = (config.batch_size, longest_clip(config), model.image_height, model.image_width, 3)
    batch = {
        "video": np.random.default_rng(0).random(shape, np.float32),
        "example_id": np.arange(config.batch_size),
    }
    inputs = steps.place(batch, mesh)
    state = jax.jit(lambda: steps.initial_state(config, optimizer))()
    began = time.perf_counter()
    step = steps.make_train_step(config, optimizer, mesh).lower(state, *inputs).compile()
    compile_seconds = time.perf_counter() - began
    plan = step.memory_analysis()
    if plan is not None and plan.temp_size_in_bytes > free_bytes():
        say(f"a step of {config.system} needs {plan.temp_size_in_bytes / 2**30:.1f} GiB: it does not fit")
        return None
    seconds = []
    for _ in range(num_steps + 1):
        began = time.perf_counter()
        state, metrics = step(state, *inputs)
        jax.block_until_ready(metrics)
        seconds.append(time.perf_counter() - began)
    source = f"{num_steps} timed steps, {compile_seconds:.0f} s of it for compiling"
    return Rate(statistics.median(seconds[1:]) / num_images, compile_seconds, source)


def free_bytes() -> float:
    """The memory that a step may take: the first accelerator's, or this machine's where there is none."""
    return device_limit() or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
