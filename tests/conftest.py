"""Settings of JAX for all tests (code is compiled in a hurry, and kept), programs run as people run them, a disk."""

import os
import pathlib
import signal
import subprocess
import sys

# Most of the suite's time is compilation; LLVM's optimisations take half of it and win nothing on tiny models.
# Programs that tests start inherit it. `XLA_FLAGS= python -m pytest` tests optimised code, as the slow tests want it.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import jax
import jaxtyping
import pytest

ROOT = pathlib.Path(__file__).parent.parent
# Seconds after which a program that a test waits for counts as one that hangs: no machine is as busy as that.
PATIENCE = 1800
CACHE = ROOT / ".jax_cache"
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)

# Who starts the tests in the background, or by nohup, has them ignore these; programs that tests start would too. A
# handler is not inherited, so that they have their ordinary effect there.
for name, handler in {"SIGINT": signal.default_int_handler, "SIGHUP": lambda *_: None}.items():
    if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) == signal.SIG_IGN:
        signal.signal(getattr(signal, name), handler)


@pytest.fixture
def start_program(tmp_path):
    """Starts `python ARGUMENTS...` from the root of the repository; its output goes to `process.output`, a file.

    A process group of its own and no pipes: what a killed program leaves behind can then be ended, and holds nothing.
    """
    started = []

    def start(*arguments: str) -> subprocess.Popen:
        output = tmp_path / f"output_{len(started)}.txt"
        environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(CACHE), "JAX_PLATFORMS": "cpu"}
        environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3", "PYTHONWARNINGS": "default"}
        with open(output, "w") as file:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process.output = output
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture
def run_program(start_program):
    """Runs `python ARGUMENTS...` to its end and returns (exit code, output)."""

    def run(*arguments: str) -> tuple[int, str]:
        process = start_program(*arguments)
        code = process.wait(timeout=PATIENCE)
        return code, process.output.read_text()

    return run


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte, and a function that makes it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"may not mount a tmpfs: {mounted.stderr.strip()}")
    yield folder, lambda: subprocess.run(["mount", "-o", "remount,size=50m", str(folder)], check=True)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def as_installed():
    """Without the checks of annotations, which only the tests have."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
