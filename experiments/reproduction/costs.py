"""How long the runs of a table would take here: known from logs, or from a few steps, timed; otherwise unknown."""

import dataclasses
import glob
import pathlib
import re
import statistics
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.config import TrainConfig, VQAConfig, longest_clip
from experiments.machine.fitting import available_memory, device_limit
from experiments.reproduction.budgets import Entry
from experiments.runs import checkpoints
from experiments.runs.logs import read_rows, say
from experiments.training import steps
from experiments.training.loop import work
from experiments.vqa import batches, loading
from experiments.vqa import steps as reasoning
from experiments.vqa.questions import UNKNOWN, Questions


class Rate(NamedTuple):
    """How fast a run goes."""

    seconds: float  # for a unit of work: a whole picture, or a question
    compile_seconds: float
    source: str


def trainings(entries: Iterable[Entry]) -> dict[pathlib.Path, TrainConfig | VQAConfig]:
    """What is trained for some numbers, by run folder: runs that several need are one."""
    return {
        stage.folder: stage.config
        for entry in entries
        for stage in (entry.stages[:-1] if entry.by_programs else entry.stages)
    }


def table(entries: Sequence[Entry], num_timed_steps: int, jobs: int) -> str:
    """The runs as text: steps done and to do, and the seconds that these would take, and how that is known.

    Args:
        num_timed_steps: of each model that has no log; 0 for none, as they have to be compiled.
        jobs: runs at a time; 0 for one in this process.
    """
    configs = trainings(entries)
    width = max((len(str(folder)) for folder in configs), default=0) + 2
    lines = [f"{'run':<{width}}{'steps done':>16}   seconds to go"]
    timed: dict[str, Rate | None] = {}
    seconds = []
    for folder, config in configs.items():
        done = steps_done(folder, config)
        left, shown = work_left(config, done), "0"
        if left:
            rate = log_rate(folder)
            if rate is None and num_timed_steps:
                model = (
                    f"{config.system if isinstance(config, TrainConfig) else config.features}{config.model}"
                )
                if model not in timed:
                    timed[model] = timed_rate(config, num_timed_steps)
                rate = timed[model]
            seconds.append(rate and left * rate.seconds + rate.compile_seconds)
            shown = f"{seconds[-1]:,.0f} ({rate.source})" if rate else "unknown: nothing was measured"
        lines.append(f"{folder!s:<{width}}{f'{done} of {config.num_steps}':>16}   {shown}")
    known = [value for value in seconds if value is not None]
    unknown = len(seconds) - len(known)
    lines += [
        f"in all {sum(known):,.0f} s, {sum(known) / 3600:.1f} hours"
        + (f", {sum(known) / 3600 / jobs:.1f} with {jobs} at a time" if jobs > 1 else "")
        + (f", and {unknown} runs of unknown cost" if unknown else ""),
        "simulating data, validating, extracting features and scoring come on top",
    ]
    return "\n".join(lines)


def seconds_left(entries: Iterable[Entry]) -> float | None:
    """What all runs still take, by what has been logged: of a run that has no log, by others of its kind.

    None where a run is left of a kind that nobody has logged.
    """
    configs = trainings(entries)
    left = {folder: work_left(config, steps_done(folder, config)) for folder, config in configs.items()}
    rates = {folder: log_rate(folder) for folder in configs}
    total = 0.0
    for folder, config in configs.items():
        rate = rates[folder]
        if rate is None:
            alike = [
                rates[other].seconds
                for other in configs
                if type(configs[other]) is type(config) and rates[other]
            ]
            rate = Rate(statistics.median(alike), 0.0, "others") if alike else None
        if left[folder] and rate is None:
            return None
        total += left[folder] * rate.seconds if left[folder] else 0.0
    return total


def steps_done(folder: pathlib.Path, config: TrainConfig | VQAConfig) -> int:
    """The last step that a run has saved."""
    return min(max(checkpoints.saved_steps(folder), default=0), config.num_steps)


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


def timed_rate(config: TrainConfig | VQAConfig, num_steps: int) -> Rate | None:
    """Compiles a training step of the longest clips, or of questions, and times some on random data.

    None where a step does not fit.
    """
    name = config.system if isinstance(config, TrainConfig) else f"a reasoner ({config.features})"
    say(f"timing {num_steps} steps of {name}: compiling")
    step, state, inputs, amount = (_clips if isinstance(config, TrainConfig) else _questions)(config)
    began = time.perf_counter()
    step = step.lower(state, *inputs).compile()
    compile_seconds = time.perf_counter() - began
    plan = step.memory_analysis()
    if plan is not None and plan.temp_size_in_bytes > (device_limit() or available_memory()):
        say(f"a step of {name} needs {plan.temp_size_in_bytes / 2**30:.1f} GiB: it does not fit")
        return None
    seconds = []
    for _ in range(num_steps + 1):
        began = time.perf_counter()
        state, metrics = step(state, *inputs)
        jax.block_until_ready(metrics)
        seconds.append(time.perf_counter() - began)
    source = f"{num_steps} timed steps, {compile_seconds:.0f} s of it for compiling"
    return Rate(statistics.median(seconds[1:]) / amount, compile_seconds, source)


def _clips(config: TrainConfig) -> tuple[Any, Any, tuple, int]:
    """The step, its state and a batch of random clips, and how many pictures these are."""
    mesh, optimizer = steps.make_mesh(), steps.make_optimizer(config)
    model, frames = config.model, longest_clip(config)
    shape = (config.batch_size, frames, model.image_height, model.image_width, 3)
    batch = {
        "video": np.random.default_rng(0).random(shape, np.float32),
        "example_id": np.arange(config.batch_size),
    }
    state = jax.jit(lambda: steps.initial_state(config, optimizer))()
    inputs = steps.place(batch, mesh)
    return steps.make_train_step(config, optimizer, mesh), state, inputs, config.batch_size * frames


def _questions(config: VQAConfig) -> tuple[Any, Any, tuple, int]:
    """The same of questions about slots of the quickstart's sizes, a fifth of them with four choices."""
    slots = (1, 1, config.model.feature_size) if config.features == "blind" else (config.num_frames, 5, 12)
    config = loading.fit_model(config, slots[2], slots[1], slots[0])
    config = dataclasses.replace(config, frame_stride=1)  # as many frames as are seen
    number, kind = config.batch_size, np.arange(config.batch_size) % 5 == 0
    words, choice_words = np.ones((number, 20), np.int32), np.ones((number, 4, 12), np.int32)
    exists = np.where(kind[:, None], np.arange(4), UNKNOWN)
    asked = Questions(
        np.zeros(number, np.int32),
        np.arange(number),
        kind.astype(np.int32),
        np.full(number, "any"),
        words,
        np.where(kind, UNKNOWN, 1),
        exists,
        choice_words,
        np.where(exists >= 0, 1, UNKNOWN),
    )
    optimizer, videos = reasoning.make_optimizer(config), np.zeros((1, *slots), np.float32)
    rows = np.zeros(number, int)
    batch = next(batches.training_batches(config, asked, videos, rows, 0, steps.make_mesh()))
    state = jax.jit(lambda: reasoning.initial_state(config, optimizer))()
    return reasoning.make_train_step(config, optimizer), state, (batch,), number
