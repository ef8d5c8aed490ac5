"""What can befall a run from outside, one by one."""

import errno
import os
import signal
import subprocess
import sys

import jax
import pytest

from experiments.machine import guards

NAMES = [name for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]


@pytest.mark.parametrize("name", NAMES)
def test_a_signal_is_kept_once_and_then_has_its_ordinary_effect(name):
    number, came = signal.Signals[name], []
    before = signal.signal(number, lambda *_: came.append(number))
    try:
        with guards.catch_signals() as caught:
            os.kill(os.getpid(), number)
            assert (caught, came) == ([number], [])
            os.kill(os.getpid(), number)
            assert (caught, came) == ([number], [number])
        os.kill(os.getpid(), number)
        assert came == [number] * 2
    finally:
        signal.signal(number, before)


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with guards.catch_signals() as caught:
            os.kill(os.getpid(), signal.SIGHUP)
            assert caught == []
    finally:
        signal.signal(signal.SIGHUP, before)


TENSORSTORE = (
    'RESOURCE_EXHAUSTED: Error writing "a/0.0" in OCDBT database at local file "/d/2.orbax-checkpoint-tmp/": Failed '
    "writing: \"/d/4b1a\": Failed to write 133930 bytes to file 4: {} [os_error_code='{}' source locations=x]"
)


@pytest.mark.parametrize(
    "error, full, reason",
    [
        (OSError(errno.ENOSPC, "No space left on device"), True, "No space left"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True, "quota"),
        (OSError(errno.EROFS, "Read-only file system", "/d"), False, "Read-only file system: '/d'"),
        (OSError(errno.EMFILE, "Too many open files"), False, "Too many open files"),
        (
            ValueError(TENSORSTORE.format("No space left on device", errno.ENOSPC)),
            True,
            "No space left on device",
        ),
        (ValueError(TENSORSTORE.format("File too large", errno.EFBIG)), False, "File too large"),
        (ValueError("a tree that cannot be written\nat all"), False, "a tree that cannot be written"),
    ],
)
def test_a_write_that_failed_is_called_a_full_disk_where_it_was_one(error, full, reason):
    found, said = guards.why_not_written(error)
    assert found is full and reason in said and "\n" not in said


def test_only_the_folder_s_own_disk_is_called_full(tmp_path):
    def fail(*arguments):
        with guards.explain_full_disk(tmp_path):
            raise OSError(*arguments)

    for number, name in ((errno.ENOSPC, str(tmp_path / "x")), (errno.EDQUOT, None)):
        with pytest.raises(OSError, match=r"^the disk of .* is full: make room"):
            fail(number, "words", name)
    for number, name in (
        (errno.ENOSPC, "/dev/shm/x"),
        (errno.EIO, str(tmp_path / "x")),
        (errno.EACCES, None),
    ):
        with pytest.raises(OSError, match="words") as caught:
            fail(number, "words", name)
        assert caught.value.errno == number


def test_a_device_that_has_too_little_memory_is_one_line():
    with pytest.raises(
        MemoryError, match=r"^the device has too little memory for this \(RESOURCE_EXHAUSTED: 9 GB\)$"
    ):
        with guards.explain_device():
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 9 GB\nmore")
    with pytest.raises(RuntimeError, match="a fault of ours"):
        with guards.explain_device():
            raise RuntimeError("a fault of ours")


def test_a_device_that_is_not_there_is_one_line():
    program = (
        "from experiments import benchmark as b; b.command_line.run_tool(b.main, b.add_arguments, ['b'])"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"JAX_PLATFORMS": "nowhere"},
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == 2
    assert outcome.stderr.startswith("b: JAX finds no device, JAX_PLATFORMS is 'nowhere': ")
    assert outcome.stderr.count("\n") == 1
