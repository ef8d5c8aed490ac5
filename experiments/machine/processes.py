"""Several processes that train one model: how they start together, take turns and end together.

One process needs none of this: there every function does the obvious thing, and the programs have one code path.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from data_pipelines.command_line import first_line, report_to

Result = TypeVar("Result")

PATIENCE = 300  # seconds in which all processes have to come
SLURM_STEP = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")

# A process of its own that speaks for the one that started it, should that one end without a goodbye. JAX's runtime
# aborts from C++ when it loses another process, and nothing that runs inside of this one can add a word then. It says
# the last line that it was given; an empty one is the goodbye.
SPOKESMAN = """
import signal, sys
for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
words = sys.stdin.read().splitlines()
if words and words[-1]:
    print(words[-1], file=sys.stderr)
"""
_spokesman: subprocess.Popen | None = None


def join(
    coordinator_address: str | None, num_processes: int | None, process_id: int | None, heartbeat_timeout: int
) -> str:
    """Joins the processes of a run, before JAX is used for anything else; does nothing where there is only one.

    The three arguments that come first say where the others are; without them a SLURM step of several tasks does.
    There each task takes the GPU of its number on its node. Named processes take all devices of theirs. Who waits says
    so, and for whom; `num_processes` of 1 is enough to be alone anywhere.

    Args:
        coordinator_address: HOST:PORT, on the host of process 0, that all of them can reach.
        num_processes: how many there are.
        process_id: which one this is, from 0.
        heartbeat_timeout: seconds of silence after which a process counts as lost and the others end.

    Returns:
        what tells this process from the others in a message; "" where there are no others.

    Raises:
        ValueError: the arguments are incomplete or make no sense.
    """
    named = {
        "coordinator_address": coordinator_address,
        "num_processes": num_processes,
        "process_id": process_id,
    }
    missing = [f"--{name}" for name, value in named.items() if value is None]
    if heartbeat_timeout < 1:
        raise ValueError(f"--heartbeat_timeout is {heartbeat_timeout}: it must be 1 second or more")
    if num_processes is not None and num_processes < 1:
        raise ValueError(f"--num_processes={num_processes} must be at least 1")
    if num_processes == 1 and process_id in (None, 0):
        return ""
    if len(missing) == len(named):
        if not all(name in os.environ for name in SLURM_STEP):
            return ""
        process_id, num_processes = (int(os.environ[name]) for name in ("SLURM_PROCID", "SLURM_NTASKS"))
        # A shell of `salloc` has a step of one task in a job of several.
        if 1 in (num_processes, int(os.environ.get("SLURM_STEP_NUM_TASKS", num_processes))):
            return ""
        where = {}
        others = f"SLURM step of {num_processes} tasks on {os.environ['SLURM_STEP_NODELIST']}"
    elif missing:
        raise ValueError(f"{' and '.join(missing)} missing: --{', --'.join(named)} go together")
    else:
        if not re.fullmatch(r".+:\d{1,5}", coordinator_address) or _port(coordinator_address) > 65535:
            raise ValueError(f"--coordinator_address={coordinator_address} is not HOST:PORT")
        if not 0 <= process_id < num_processes:
            raise ValueError(f"--process_id={process_id} is not from 0 to {num_processes - 1}")
        where = {**named, "cluster_detection_method": "deactivate"}
        others = coordinator_address
        if process_id == 0:
            _check_port(coordinator_address)
    name = f"process {process_id} of {num_processes}"
    for_whom = "process 0"
    if process_id == 0:
        for_whom = "process 1" if num_processes == 2 else f"processes 1 to {num_processes - 1}"
    alone = "to train alone, give --num_processes=1"
    print(f"{name}: waiting for {for_whom} ({others}); {alone}", file=sys.stderr, flush=True)
    _appoint_spokesman(
        f"{name} has ended: {for_whom} did not come within {PATIENCE} s, or the port is taken ({others}); {alone}"
    )
    try:
        with _quiet_end():
            jax.distributed.initialize(
                **where,
                initialization_timeout=PATIENCE,
                heartbeat_timeout_seconds=heartbeat_timeout,
                shutdown_timeout_seconds=heartbeat_timeout,
            )
    except (RuntimeError, ValueError) as error:
        _dismiss_spokesman()
        raise OSError(f"{name} cannot join the others ({others}): {first_line(error)}; {alone}") from error
    _tell_spokesman(
        f"{name} has ended without saving: it was killed, or another process ended "
        f"or was out of reach for {heartbeat_timeout} s. Its checkpoints are whole: start all processes again"
    )
    if process_id > 0:
        _silence(1)  # results are told once
    wait_for_others()  # opens the connections, which must not take one process much longer than another
    return f" ({name})"


def leave(failed: bool) -> None:
    """Ends this process's part once all others have come to the same point, waiting for them.

    Args:
        failed: this process has told of an error. If the others had none, JAX gives them up after the heartbeat
            time-out, and this process with them.
    """
    if not jax.distributed.is_initialized():
        return
    if failed:
        _dismiss_spokesman()
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), 2
        )  # the error has been told; JAX would tell a page of its own
    elif jax.process_count() > 1:
        multihost_utils.sync_global_devices(
            "leave"
        )  # process 0 may still be drawing: this waits without a limit
    jax.distributed.shutdown()
    _dismiss_spokesman()


def wait_for_others() -> None:
    """Returns when all processes have called it as often as this one."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("wait_for_others")


def abandon(error: Exception) -> None:
    """Tells of an error that nothing expects and ends this process at once, if it is one of several.

    Nothing is waited for: a connection that breaks, because another process is gone, is such an error.
    """
    if jax.distributed.is_initialized():
        lost = isinstance(error, jax.errors.JaxRuntimeError)
        words = first_line(error) if lost else f"{traceback.format_exc()}{report_to()}"
        print(words, file=sys.stderr, flush=True)
        os._exit(1)


def first_then_others(action: Callable[[], Result]) -> Result:
    """Returns what an action gives in this process; process 0 is through with it before the others begin.

    What raises in process 0 is raised and told there alone.

    Raises:
        SystemExit: in the other processes, when process 0 has failed; with its exit code 2.
    """
    if jax.process_count() == 1:
        return action()
    if jax.process_index() > 0:
        if not multihost_utils.broadcast_one_to_all(np.int32(0)):
            raise SystemExit(2)
        return action()
    done = False
    try:
        result = action()
        done = True
    finally:
        multihost_utils.broadcast_one_to_all(np.int32(done))
    return result


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _check_port(address: str) -> None:
    """JAX's runtime crashes where it cannot listen."""
    try:
        socket.create_server(("", _port(address))).close()
    except OSError as error:
        raise ValueError(
            f"--coordinator_address={address}: this process cannot listen there ({error}); take another port, or end "
            "the run that has it"
        ) from error


def _silence(stream: int) -> None:
    sys.stdout.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream)
    os.close(nowhere)


@contextlib.contextmanager
def _quiet_end() -> Iterator[None]:
    """Lets Ctrl-C end the wait at once, and keeps the page that JAX's runtime prints when it gives up from the screen.

    The spokesman has the screen still, and says it in a line.
    """
    sys.stderr.flush()
    screen, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(screen, 2)
        signal.signal(signal.SIGINT, before)
        os.close(screen)
        os.close(nowhere)


def _appoint_spokesman(last_words: str) -> None:
    global _spokesman
    _spokesman = subprocess.Popen(
        [sys.executable, "-I", "-c", SPOKESMAN],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    _tell_spokesman(last_words)


def _tell_spokesman(last_words: str) -> None:
    _spokesman.stdin.write(last_words.encode(errors="backslashreplace") + b"\n")
    _spokesman.stdin.flush()


def _dismiss_spokesman() -> None:
    if _spokesman is not None and not _spokesman.stdin.closed:
        _tell_spokesman("")
        _spokesman.stdin.close()
        _spokesman.wait()
