"""What is optional is done without: a home, a list of users, a cache, locks."""

import os
import subprocess
import sys

import pytest

from experiments.machine import preparation

# As in a container of another user's number: no HOME, and nobody knows the user.
NOBODY = """
import os, pwd, sys
def unknown(*_):
    raise KeyError("no such user")
pwd.getpwuid = pwd.getpwnam = unknown
for name in ("HOME", "XDG_CACHE_HOME", "USER", "LOGNAME", "USERNAME", "LNAME", "MPLCONFIGDIR"):
    os.environ.pop(name, None)
os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
"""
RUN = """
import runpy
program, *sys.argv = sys.argv[1:]
sys.argv.insert(0, program)
runpy.run_module(program, run_name="__main__", alter_sys=True)
"""
# What Windows has not.
WITHOUT = """
import sys
for name in ("fcntl", "pwd", "grp", "resource", "termios", "grain", "array_record"):
    sys.modules[name] = None
import signal
for name in ("SIGHUP", "SIGUSR1"):
    delattr(signal, name)
"""


def run(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"JAX_PLATFORMS": "cpu"} | environment,
        capture_output=True,
        text=True,
    )


def test_without_a_home_the_programs_work(tmp_path):
    program = ("experiments.export_params", "--export=quickstart", f"--output={tmp_path}/a.safetensors")
    outcome = run(NOBODY + RUN, *program)
    assert outcome.returncode == 0, outcome.stderr
    # Nothing but what any machine is told of a model that has no mean frame.
    assert outcome.stderr in ("", "exported without the mean training frame: quickstart has none\n")
    assert (tmp_path / "a.safetensors").exists()
    imports = "import experiments.predict, experiments.figures, data_pipelines.configs as c; import matplotlib.figure\n"
    outcome = run(f"{NOBODY}{imports}c.builder_class('simulated_clevrer')")
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.parametrize("home", ["/dev/null", "/proc", "", "/proc/self/nowhere"])
def test_a_cache_that_cannot_be_written_is_done_without(monkeypatch, home):
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", home)
    if home:
        assert preparation.cache_folder() is None
    monkeypatch.setenv("XDG_CACHE_HOME", home)
    monkeypatch.setenv("HOME", "/dev/null")
    assert preparation.cache_folder() is None


def test_a_cache_that_can_be_written_is_used(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert preparation.cache_folder() == f"{tmp_path}/oddn_jax/jax"
    assert not any((tmp_path / "oddn_jax" / "jax").iterdir())


def test_what_only_some_systems_have_is_not_needed_to_predict_and_train():
    code = f"{WITHOUT}import experiments.predict\nfrom experiments.machine.guards import catch_signals\n"
    outcome = run(f"{code}with catch_signals() as caught: print(sorted(caught))")
    assert (outcome.returncode, outcome.stdout) == (0, "[]\n"), outcome.stderr
