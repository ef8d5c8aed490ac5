"""Checkpoints of a run: what resumes it exactly, and its parameters for other programs. Only this file imports Orbax.

One step is a folder `checkpoints/<step>` with three items: `state` (step counter and optimiser), `params`, and `meta`
(their SHA-256 sums, the step at which the data goes on, and the sum of the config).
"""

import contextlib
import hashlib
import logging
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from data_pipelines import claims
from experiments.machine import processes
from experiments.machine.guards import why_not_written

logging.getLogger("absl").setLevel(
    logging.CRITICAL
)  # Orbax narrates every save there; what matters is raised

FOLDER = "checkpoints"
Tree = Any  # nested containers of arrays
Manager = ocp.CheckpointManager


class Restored(NamedTuple):
    """A checkpoint in host memory; the leaves of `params` and `state` are NumPy arrays."""

    step: int
    params: Tree
    state: Tree
    meta: Mapping[str, Any]


@contextlib.contextmanager
def open_manager(workdir: str | pathlib.Path, keep: int) -> Iterator[Manager]:
    """Opens the checkpoints of a run: the `keep` latest stay, and the best by validation bound.

    Raises:
        ValueError: the folder's name is no text, which TensorStore wants.
        OSError: at the end, the last checkpoint could not be written.
        FloatingPointError: as raised inside, with what is saved of the run.
    """
    folder = pathlib.Path(workdir, FOLDER).absolute()
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"checkpoints cannot be written to {folder}: its name is no UTF-8, or the locale is none (LANG=C.UTF-8); "
            "choose another --workdir"
        ) from None
    policy = preservation_policy.AnyPreservationPolicy(
        [preservation_policy.LatestN(keep), preservation_policy.BestN(get_metric_fn=_bound, n=1)]
    )
    options = ocp.CheckpointManagerOptions(best_fn=_bound, best_mode="max", preservation_policy=policy)
    manager = Manager(folder, options=options)
    try:
        yield manager
    except BaseException as error:
        with contextlib.suppress(Exception):  # the first error is the one to tell
            manager.close()
        if isinstance(error, FloatingPointError):
            raise FloatingPointError(
                f"{_first_line(error)}; training stopped, {_what_stays(workdir)}"
            ) from error
        raise
    with _explain_failed_write(manager):
        manager.close()


def _what_stays(workdir: str | pathlib.Path) -> str:
    steps, folder = saved_steps(workdir), pathlib.Path(workdir, FOLDER)
    if steps:
        return f"the last good checkpoint, of step {steps[-1]}, stays in {folder}"
    return f"before anything was saved in {folder}: begin with a lower learning rate, or save more often"


@contextlib.contextmanager
def _explain_failed_write(manager: Manager) -> Iterator[None]:
    try:
        yield
    except jax.errors.JaxRuntimeError:
        raise  # the devices, not the disk: another process is gone
    except Exception as error:  # Orbax raises anything, as on reading
        full, reason = why_not_written(error)
        what = "the disk is full, make room" if full else reason
        raise OSError(
            f"no checkpoint could be written to {manager.directory}: {what}. Those already there are whole; "
            "the same command goes on from the last"
        ) from error


def _bound(metrics: Mapping[str, float]) -> float:
    return metrics["bound"]


def save(
    manager: Manager, step: int, params: Tree, state: Tree, config_hash: str, bound: float | None = None
) -> None:
    """Starts writing a checkpoint in the background; `wait` says when it is on disk.

    Several processes write one checkpoint together: all of them must call this.

    Args:
        bound: the validation bound at this step, higher is better; None where it was not measured. Orbax
            ranks NaN best and keeps unmeasured steps for ever, so both are stored as -inf.

    Raises:
        OSError: the checkpoint before could not be written, or the run folder belongs to another process by now.
    """
    if step in manager.all_steps():
        return
    processes.first_then_others(lambda: claims.check(manager.directory.parent))
    # NumPy restores on any number of devices. Copied, because on the CPU an array read is a view of the device's
    # memory, which the next step takes over while the save is still running.
    params, state = jax.tree.map(np.array, jax.device_get((params, state)))
    meta = {
        "step": step,
        "params_sha256": digest(params),
        "state_sha256": digest(state),
        "data_position": step,
        "config_sha256": config_hash,
    }
    with _explain_failed_write(manager):
        manager.save(
            step,
            metrics={"bound": float("-inf") if bound is None or np.isnan(bound) else float(bound)},
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                params=ocp.args.StandardSave(params),
                meta=ocp.args.JsonSave(meta),
            ),
            force=True,
        )


def wait(manager: Manager) -> None:
    """Returns when every checkpoint is on disk.

    Raises:
        OSError: one could not be written.
    """
    with _explain_failed_write(manager):
        manager.wait_until_finished()


def restore(manager: Manager, params: Tree, state: Tree, say: Callable[[str], None]) -> Restored | None:
    """Reads the newest checkpoint that is whole, or returns None where there is none.

    A newer one that cannot be read is reported and moved to `unreadable/` beside the checkpoints, so that the run can
    write that step again and nothing is lost.

    Args:
        params, state: the shapes and dtypes to expect, as arrays or `jax.ShapeDtypeStruct`s.

    Raises:
        ValueError: there are checkpoints, and none can be read.
    """
    return processes.first_then_others(lambda: _read_newest(manager, params, state, say))


def _read_newest(manager: Manager, params: Tree, state: Tree, say: Callable[[str], None]) -> Restored | None:
    manager.reload()  # process 0 has moved the damaged ones aside
    failures = {}
    for step in sorted(manager.all_steps(), reverse=True):
        try:
            restored = _read(manager, step, params, state)
        except Exception as error:  # Orbax raises anything, down to a bare Exception, on damaged files
            failures[step] = _first_line(error)
            if jax.process_index() > 0:
                break  # process 0 could read it: it is not this checkpoint that is damaged
            continue
        for damaged, reason in failures.items():
            say(
                f"WARNING: checkpoint {damaged} cannot be read ({reason}); moved aside, going on from step {step}"
            )
            _move_aside(manager, damaged)
        return restored
    if failures:
        step, reason = next(iter(failures.items()))
        raise ValueError(
            f"none of the {len(failures)} checkpoints in {manager.directory} can be read ({step}: {reason}); "
            "start afresh in another --workdir"
        )
    return None


def _read(manager: Manager, step: int, params: Tree, state: Tree) -> Restored:
    params, state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), (params, state))
    items = manager.restore(
        step,
        args=ocp.args.Composite(
            state=ocp.args.StandardRestore(state),
            params=ocp.args.StandardRestore(params),
            meta=ocp.args.JsonRestore(),
        ),
    )
    # Orbax restores flipped bits, and casts to the dtype asked for, without a word: the sums catch both.
    for name in ("params", "state"):
        if digest(items[name]) != items["meta"][f"{name}_sha256"]:
            raise ValueError(f"the SHA-256 sum of its {name} is not the one recorded")
    return Restored(step, items["params"], items["state"], items["meta"])


def _move_aside(manager: Manager, step: int) -> None:
    aside = manager.directory.parent / "unreadable"
    aside.mkdir(exist_ok=True)
    taken = len(list(aside.iterdir()))
    (manager.directory / str(step)).rename(aside / f"{step}-{taken}")
    manager.reload()


def saved_steps(workdir: str | pathlib.Path) -> list[int]:
    """The steps of a run that have a checkpoint, in order."""
    names = (entry.name for entry in pathlib.Path(workdir, FOLDER).glob("*"))
    return sorted(int(name) for name in names if name.isdigit())


def load_params(workdir: str | pathlib.Path, step: int | None = None) -> Tree:
    """Reads the parameters of a run as nested dictionaries of NumPy arrays.

    Args:
        workdir: the run's folder.
        step: which checkpoint; None takes the latest.

    Raises:
        FileNotFoundError: the folder holds no checkpoint, or not that one.
        ValueError: the parameters are not those that were saved.
    """
    steps, folder = saved_steps(workdir), pathlib.Path(workdir, FOLDER).absolute()
    if not steps or step not in (None, *steps):
        held = f"only steps {', '.join(map(str, steps))}" if steps else "no checkpoints"
        raise FileNotFoundError(
            f"{workdir} holds {held}: train there first, or give the folder of a finished run"
        )
    step = steps[-1] if step is None else step
    try:
        with Manager(folder, options=ocp.CheckpointManagerOptions(read_only=True)) as manager:
            args = ocp.args.Composite(params=ocp.args.StandardRestore(), meta=ocp.args.JsonRestore())
            items = manager.restore(step, args=args)
    except Exception as error:
        raise ValueError(f"checkpoint {step} of {workdir} cannot be read ({_first_line(error)})") from error
    if digest(items["params"]) != items["meta"]["params_sha256"]:
        raise ValueError(
            f"checkpoint {step} of {workdir} is damaged: the SHA-256 sum of its parameters is wrong"
        )
    return items["params"]


def digest(tree: Tree) -> str:
    """The SHA-256 sum over the names, dtypes, shapes and bytes of all leaves."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        total.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
