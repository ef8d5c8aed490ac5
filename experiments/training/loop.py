"""The training loop, top down: evaluate if due, save if due, draw if due, take the batch, step, log if due."""

import contextlib
import pathlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding

import oddn_jax
from data_pipelines import loaders
from experiments.config import TrainConfig, check, clip_length, coarseness, longest_clip
from experiments.machine import processes
from experiments.machine.fitting import explain_choice
from experiments.machine.guards import catch_signals, explain_exhausted_memory, explain_full_disk
from experiments.runs import checkpoints, datasets, mean_frame, run_folder
from experiments.runs.logs import MetricLog, say
from experiments.runs.trained import check_shapes, open_named
from experiments.training import steps, strips
from experiments.training.steps import TrainState

MOST_SKIPPED = 0.1  # of the steps from one log line to the next


def fit(config: TrainConfig, workdir: str | pathlib.Path) -> TrainState:
    """Trains a run to its end, from its last checkpoint where it has one.

    Raises:
        ValueError, FileNotFoundError: an option, the data set or the run folder is unusable.
        FloatingPointError: too many losses, gradients or updates are not finite; the last good checkpoint stays.
        MemoryError: a step does not fit the device.
        OSError: a checkpoint cannot be written; those already there stay. Or another process has the run folder.
        SystemExit: signal n, one of `catch_signals`, has arrived; the run is saved, the status is 128 + n. With several
            processes one that gets a signal stops all, at the same step, and the status is 0.
    """
    workdir = pathlib.Path(workdir)
    with contextlib.ExitStack() as stack:
        dataset_dir = processes.first_then_others(lambda: open_run(config, workdir, stack))
        mesh, optimizer = steps.make_mesh(), steps.make_optimizer(config)
        stack.enter_context(explain_full_disk(workdir))
        manager = stack.enter_context(checkpoints.open_manager(workdir, config.keep_checkpoints))
        state = starting_state(config, optimizer, mesh, manager)
        step = start = int(state.step)
        if step >= config.num_steps:
            say(f"finished: {workdir} holds {step} of {config.num_steps} steps")
            return state
        log = stack.enter_context(contextlib.closing(MetricLog(workdir, start, config.num_steps)))
        signals = stack.enter_context(catch_signals())
        several = jax.process_count() > 1
        stack.enter_context(explain_exhausted_memory(config))
        validate = make_validation(config, mesh, dataset_dir)
        batches = stack.enter_context(contextlib.closing(training_batches(config, dataset_dir, start)))
        work_left = sum(work(config, later) for later in range(step, config.num_steps))
        kind = bound = None
        # Since the last log line: metrics still on the device, images and work, seconds on the reader and in all.
        unread, images, done, waited, spent = [], 0, 0.0, 0.0, 0.0
        stopped = over = False
        while True:
            if step > start and not stopped and (over or step % config.eval_every == 0):
                metrics = validate(state.params)
                bound = -metrics["loss"]
                log.write(step, "valid", metrics)
            if step > start and (over or step % config.save_every == 0):
                rest = {"step": state.step, "opt_state": state.opt_state}
                checkpoints.save(manager, step, state.params, rest, run_folder.fingerprint(config), bound)
            if over:
                break
            if step > start and config.figures_every and step % config.figures_every == 0:
                if jax.process_index() == 0:
                    strips.write(config, state.params, step, dataset_dir, workdir)
            began = time.perf_counter()
            batch = steps.place(next(batches), mesh)
            frames, factor = batch[0].shape[1], coarseness(config, step)
            if (frames, factor) == kind:
                waited += time.perf_counter() - began
            else:
                kind = frames, factor
                coarse = f", {factor} x {factor} pixels averaged," if factor > 1 else ""
                say(f"clips of {frames} frames{coarse} from step {step} on: compiling their training step")
                train_step = steps.make_train_step(config, optimizer, mesh, factor)
                train_step = train_step.lower(state, *batch).compile()
                processes.wait_for_others()  # a first all-reduce gives up on them after half a minute
                began = time.perf_counter()  # the compilation and the reader's start are not a step's time
            state, metrics = train_step(state, *batch)
            jax.block_until_ready(unread[-1:])  # stay one step ahead of the device: the times mean something
            done += work(config, step)
            step, bound = step + 1, None
            unread.append((step, metrics))
            images += config.batch_size * frames
            log.advance()
            # One decision a step, and the same in all processes.
            stopped = manager.reached_preemption(step) if several else bool(signals)
            over = stopped or step == config.num_steps
            due = over or step % config.log_every == 0
            metrics = mean_metrics(unread) if due else {}
            spent += time.perf_counter() - began
            if due:
                work_left -= done
                rates = {"images_per_second": images / spent, "data_wait_share": waited / spent}
                sizes = {"frames": frames, "coarseness": factor}
                log.write(step, "train", metrics | rates | sizes, work_left * spent / done)
                unread, images, done, waited, spent = [], 0, 0.0, 0.0, 0.0
        checkpoints.wait(manager)
        if stopped or signals:
            name = signal.Signals(signals[0]).name if signals else "a signal to one of the processes"
            say(f"stopped by {name} at step {step}, saved; the same command goes on from there")
            raise SystemExit(0 if several else 128 + signals[0])
    return state


def work(config: TrainConfig, step: int) -> float:
    """What a step costs, in whole pictures."""
    return config.batch_size * clip_length(config, step) / coarseness(config, step) ** 2


def open_run(config: TrainConfig, workdir: pathlib.Path, stack: contextlib.ExitStack) -> pathlib.Path:
    """Checks the config, prepares the data, whose folder it returns, and opens the run's folder.

    Args:
        stack: with its end, the run folder is free again.

    Raises:
        ValueError, OSError: as `fit`.
    """
    check(config, jax.device_count())
    with explain_full_disk(config.data.data_dir):
        dataset_dir = datasets.prepare(config)
    with explain_full_disk(workdir):
        stack.enter_context(run_folder.hold(workdir))
        for change in run_folder.open_run(workdir, config):
            say(f"going on although {change}")
        if choice := explain_choice(config):
            say(choice)
        if jax.process_index() == 0:
            mean_frame.keep(workdir, dataset_dir)
    return dataset_dir


def fit_and_draw(config: TrainConfig, workdir: str | pathlib.Path, next_steps: str) -> None:
    """Trains a run to its end, draws what its model sees, and prints where it is and what comes next.

    Raises: as `fit`.
    """
    state = fit(config, workdir)
    if jax.process_index() != 0:
        return
    step, workdir = int(state.step), pathlib.Path(workdir)
    if not strips.written(workdir, step):
        say("drawing what the model sees")
        with explain_full_disk(workdir):
            strips.write(config, state.params, step, datasets.prepare(config), workdir)
    print(
        f"trained {step} steps on {config.data.name}/{config.data.config}\n"
        f"  {workdir}/figures        input, reconstruction, slots and predicted frames\n"
        f"  {workdir}/metrics.jsonl  what was logged; `tensorboard --logdir={workdir}/tensorboard` draws it\n"
        f"  {workdir}/checkpoints    to resume from\n"
        f"next: {next_steps}"
    )


def starting_state(
    config: TrainConfig, optimizer: optax.GradientTransformation, mesh: Mesh, manager: checkpoints.Manager
) -> TrainState:
    """The state to go on from: the run's own checkpoint, else `config.init_from`, else scratch; says which."""
    replicated = NamedSharding(mesh, steps.REPLICATED)
    shapes = jax.eval_shape(lambda: steps.initial_state(config, optimizer))
    rest = {"step": shapes.step, "opt_state": shapes.opt_state}
    own = checkpoints.restore(manager, shapes.params, rest, say)
    if own is not None:
        if own.meta["config_sha256"] != run_folder.fingerprint(config):
            raise ValueError(
                f"{manager.directory} holds checkpoints of another config: choose another --workdir"
            )
        say(f"weights: checkpoint {own.step} in {manager.directory}")
        return jax.device_put(TrainState(own.state["step"], own.params, own.state["opt_state"]), replicated)
    state = jax.jit(lambda: steps.initial_state(config, optimizer), out_shardings=replicated)()
    if config.init_from is None:
        say(f"weights: from scratch, seed {config.seed}")
        return state
    steps.check_groups("fresh", config.fresh, shapes.params)
    params = read_params(config.init_from, steps.make_model(config), shapes.params, config.fresh)
    say(f"weights: config.init_from={config.init_from}" + "".join(f", new {name}" for name in config.fresh))
    return state._replace(params={**state.params, **jax.device_put(params, replicated)})


def read_params(
    source: str, model: oddn_jax.VideoModel, shapes: Mapping[str, Any], fresh: Sequence[str] = ()
) -> dict[str, Any]:
    """Reads the parameters of a run folder, an exported file or a bundled model, for `model` to `adopt`.

    Args:
        shapes: of the parameters of `model`.
        fresh: groups of parameters that are left out.

    Raises:
        ValueError: they are of another model; names the first parameter that differs.
    """
    found = open_named(source)
    params = model.adopt(found.params, found.model)
    params, shapes = ({k: v for k, v in tree.items() if k not in fresh} for tree in (params, shapes))
    try:
        check_shapes(params, shapes)
    except ValueError as error:
        raise ValueError(f"config.init_from={source} does not fit config.model: {error}") from None
    return params


def training_batches(
    config: TrainConfig, dataset_dir: pathlib.Path, step: int
) -> Iterator[Mapping[str, np.ndarray]]:
    """The training batches of this process from a step on; their clips grow with the curriculum."""
    while True:
        frames = clip_length(config, step)
        batches = loaders.training_batches(
            dataset_dir,
            "train",
            num_frames=frames,
            stride=config.data.stride,
            batch_size=config.batch_size,
            seed=config.seed,
            start_step=step,
            clips=config.data.clips,
            shard_index=jax.process_index(),
            num_shards=jax.process_count(),
            num_threads=config.data.num_threads,
        )
        with contextlib.closing(batches):
            while clip_length(config, step) == frames:
                yield next(batches)
                step += 1


def make_validation(
    config: TrainConfig, mesh: Mesh, dataset_dir: pathlib.Path
) -> Callable[[Any], dict[str, float]]:
    """Returns a function from parameters to the mean metrics over the first clips of the validation split.

    Raises:
        ValueError: the split has fewer clips than a batch.
    """
    eval_step = steps.make_eval_step(config, mesh)
    split = config.data.valid_split
    num_clips = datasets.num_videos(config, dataset_dir, split)
    num_batches = min(config.num_valid_clips, num_clips) // config.batch_size
    if num_batches == 0:
        raise ValueError(
            f"{dataset_dir} has {num_clips} {split} videos, fewer than config.batch_size {config.batch_size}"
        )

    def validate(params):
        batches = loaders.evaluation_batches(
            dataset_dir,
            split,
            num_frames=longest_clip(config),
            stride=config.data.stride,
            batch_size=config.batch_size,
            selection=datasets.validation_selection(config),
            limit=num_batches * config.batch_size,
            shard_index=jax.process_index(),
            num_shards=jax.process_count(),
        )
        with contextlib.closing(batches):
            rows = jax.device_get([eval_step(params, *steps.place(batch, mesh)) for batch in batches])
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}

    return validate


def mean_metrics(rows: list[tuple[int, dict[str, jax.Array]]]) -> dict[str, float]:
    """Reads the metrics of some steps from the device and averages those of the steps that were not skipped.

    Returns:
        The means by name, and `steps_skipped` where there are some.

    Raises:
        FloatingPointError: of more steps than `MOST_SKIPPED` loss, gradient or update are not finite.
    """
    numbers, rows = [step for step, _ in rows], jax.device_get([metrics for _, metrics in rows])
    skipped = {}
    for name in steps.WATCHED:
        wrong = [step for step, row in zip(numbers, rows) if not np.isfinite(row[name])]
        if len(wrong) > MOST_SKIPPED * len(rows):
            raise FloatingPointError(
                f"{name} is not finite at steps {', '.join(map(str, wrong[:10]))}{' ...' if wrong[10:] else ''}"
            )
        skipped = dict.fromkeys(wrong, name) | skipped
    if skipped:
        told = ", ".join(f"{step} ({name})" for step, name in sorted(skipped.items()))
        say(f"skipped, not finite: step {told}")
    kept = [row for step, row in zip(numbers, rows) if step not in skipped]
    means = {name: float(np.mean([row[name] for row in kept])) for name in kept[0]} if kept else {}
    return means | ({"steps_skipped": len(skipped)} if skipped else {})
