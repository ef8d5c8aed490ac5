"""Training a question answering model: evaluate if due, save if due, take the batch, step, log if due."""

import contextlib
import pathlib
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from experiments.config import VQAConfig
from experiments.machine.guards import catch_signals, explain_exhausted_memory, explain_full_disk
from experiments.runs import checkpoints, run_folder
from experiments.runs.logs import MetricLog, say
from experiments.training.loop import mean_metrics
from experiments.training.steps import REPLICATED, TrainState, make_mesh
from experiments.vqa import config as vqa_config
from experiments.vqa import readings, steps
from experiments.vqa.batches import training_batches
from experiments.vqa.config import RESUMABLE_FIELDS
from experiments.vqa.questions import QUESTION_TYPES, Questions, select
from experiments.vqa.scores import score


class Data(NamedTuple):
    """The questions of one split, and what is seen of their videos."""

    questions: Questions
    videos: np.ndarray  # f32[v t k d]
    rows: np.ndarray  # i64[q], the video of each question


def fit(
    config: VQAConfig,
    workdir: pathlib.Path,
    train: Data,
    valid: Data,
    begin: Callable[[], Any] | None = None,
) -> Any:
    """Trains a run to its end, from its last checkpoint where it has one, and returns the parameters.

    Args:
        begin: what gives the first parameters, where `config.taught_by` names a reasoner; None: from scratch.

    Raises:
        ValueError: the run folder belongs to another config, or several processes were started.
        FloatingPointError, MemoryError, OSError, SystemExit: as `experiments.training.loop.fit`.
    """
    if jax.process_count() > 1:
        raise ValueError("one process trains a reasoner, on all devices that it sees: start only one")
    mesh, optimizer = make_mesh(), steps.make_optimizer(config)
    with contextlib.ExitStack() as stack:
        stack.enter_context(explain_full_disk(workdir))
        stack.enter_context(run_folder.hold(workdir))
        for change in run_folder.open_run(workdir, config, vqa_config.from_json, RESUMABLE_FIELDS):
            say(f"going on although {change}")
        manager = stack.enter_context(checkpoints.open_manager(workdir, config.keep_checkpoints))
        state = _starting_state(config, optimizer, manager, begin)
        state = jax.device_put(state, NamedSharding(mesh, REPLICATED))
        step = start = int(state.step)
        if step >= config.num_steps:
            say(f"finished: {workdir} holds {step} of {config.num_steps} steps")
            return state.params
        log = MetricLog(workdir, start, config.num_steps, unit="questions", describe=describe)
        stack.enter_context(contextlib.closing(log))
        signals = stack.enter_context(catch_signals())
        stack.enter_context(explain_exhausted_memory(config))
        validate = _make_validation(config, valid)
        batches = training_batches(config, *train, step, mesh)
        train_step = None
        unread, questions, spent, bound = [], 0, 0.0, None
        over = False
        while True:
            if step > start and (over or step % config.eval_every == 0):
                metrics = validate(state.params)
                bound = -metrics["loss"]
                log.write(step, "valid", metrics)
            if step > start and (over or step % config.save_every == 0):
                rest = {"step": state.step, "opt_state": state.opt_state}
                checkpoints.save(manager, step, state.params, rest, _fingerprint(config), bound)
            if over:
                break
            batch = next(batches)
            if train_step is None:
                say("compiling the training step")
                train_step = steps.make_train_step(config, optimizer).lower(state, batch).compile()
            began = time.perf_counter()
            state, metrics = train_step(state, batch)
            jax.block_until_ready(unread[-1:])  # stay one step ahead of the device: the times mean something
            step, bound = step + 1, None
            unread.append((step, metrics))
            questions += sum(len(part.words) for part in batch)
            log.advance()
            over = bool(signals) or step == config.num_steps
            due = over or step % config.log_every == 0
            metrics = mean_metrics(unread) if due else {}
            spent += time.perf_counter() - began
            if due:
                left = (config.num_steps - step) * spent / len(unread)
                log.write(step, "train", metrics | {"questions_per_second": questions / spent}, left)
                unread, questions, spent = [], 0, 0.0
        checkpoints.wait(manager)
        if signals:
            name = signal.Signals(signals[0]).name
            say(f"stopped by {name} at step {step}, saved; the same command goes on from there")
            raise SystemExit(128 + signals[0])
    return state.params


def answer(config: VQAConfig, params: Any, data: Data) -> readings.Logits:
    """What the model says to all questions."""
    return readings.make_answering(config)(params, data.questions, data.videos, data.rows)


def describe(metrics: Mapping[str, float]) -> str:
    """The metrics as people read them, on one line; losses in nats."""
    losses = [name for name in ("descriptive", "choice", "hidden_slots") if f"{name}_loss" in metrics]
    terms = ", ".join(f"{name.replace('_', ' ')} {metrics[f'{name}_loss']:.4g}" for name in losses)
    shares = [name for name in ("descriptive_right", "choice_right") if name in metrics]
    shares += [name for name in (f"{of_type}_per_question" for of_type in QUESTION_TYPES) if name in metrics]
    parts = [f"loss {metrics['loss']:.4g} nats ({terms})"]
    parts += [f"{name.replace('_', ' ')} {metrics[name]:.1%}" for name in shares]
    if "gradient_norm" in metrics:
        parts.append(f"gradient norm {metrics['gradient_norm']:.3g}")
        parts.append(f"{metrics['questions_per_second']:.3g} questions/s")
    return ", ".join(parts)


def _starting_state(
    config: VQAConfig, optimizer: Any, manager: checkpoints.Manager, begin: Callable[[], Any] | None
) -> TrainState:
    shapes = jax.eval_shape(lambda: steps.initial_state(config, optimizer))
    rest = {"step": shapes.step, "opt_state": shapes.opt_state}
    own = checkpoints.restore(manager, shapes.params, rest, say)
    if own is None and begin is not None:
        say(f"weights: config.taught_by={config.taught_by}")
        params = jax.tree.map(jnp.asarray, begin())
        return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))
    if own is None:
        say(f"weights: from scratch, seed {config.seed}")
        return jax.jit(lambda: steps.initial_state(config, optimizer))()
    if own.meta["config_sha256"] != _fingerprint(config):
        raise ValueError(f"{manager.directory} holds checkpoints of another config: choose another --workdir")
    say(f"weights: checkpoint {own.step} in {manager.directory}")
    return TrainState(own.state["step"], own.params, own.state["opt_state"])


def _fingerprint(config: VQAConfig) -> str:
    return run_folder.fingerprint(config, RESUMABLE_FIELDS)


def _make_validation(config: VQAConfig, valid: Data) -> Callable[[Any], dict[str, float]]:
    """Returns a function from parameters to losses and accuracies on questions spread over the whole split."""
    number = min(config.num_valid_questions, len(valid.rows))
    places = np.linspace(0, len(valid.rows) - 1, number).astype(int)
    questions, rows = select(valid.questions, places), valid.rows[places]
    run = readings.make_answering(config)

    def validate(params):
        logits = run(params, questions, valid.videos, rows)
        scores = score(questions, readings.to_predictions(logits))
        accuracies = {f"{name}_per_question": entry["per_question"] for name, entry in scores.items()}
        return readings.mean_losses(logits, questions) | accuracies

    return validate
