"""Overrides arrive with their types; whatever is wrong gives one line and exit code 2."""

import os
import subprocess
import sys

import pytest

from experiments import command_line
from experiments import config as configs
from experiments.clevrer_pretrain import QUICKSTART

TINY = "--config=tests/experiments/tiny.py"


def parse(*arguments):
    sys.modules.pop("config_config", None)  # ml_collections would load the next file over the last one
    return command_line.parse(["program", *arguments], QUICKSTART)


def test_overrides_have_the_types_of_their_fields():
    config, options = parse(
        TINY,
        "--config.learning_rate=1",
        "--config.curriculum=((0.5, 3), (1.0, 5))",
        "--config.init_from=some/where",
        "--config.model.num_slots=9",
        "--config.model.use_relation=false",
        "--workdir=here",
    )
    assert config.learning_rate == 1.0 and isinstance(config.learning_rate, float)
    assert config.curriculum == ((0.5, 3), (1.0, 5))
    assert config.init_from == "some/where"
    assert config.model.num_slots == 9
    assert config.model.use_relation is False
    assert config.num_steps == 6
    assert options.workdir == "here"


def test_bare_command_is_the_quickstart():
    config, options = parse()
    assert (config.workdir, config.data.name, options.workdir) == (
        "runs/quickstart",
        "simulated_clevrer",
        None,
    )


def test_variant():
    config, _ = parse("--config=experiments/configs/clevrer.py:reasoning,no_relation")
    assert (config.model.image_width, config.model.use_relation) == (96, False)


WRONG = [
    (["--config.num_stepz=3"], "--config.num_stepz, did you mean --config.num_steps"),
    (["--config.model.num_slot", "3"], "did you mean --config.model.num_slots"),
    (["--config.num_steps=many"], "--config.num_steps=many"),
    (["--config.model.use_relation=7"], "use_relation=7"),
    (["--config=nowhere.py"], "nowhere.py"),
    (["--config=nowhere.py", "--config.seed=1"], "nowhere.py"),
    (["--config=experiments/configs/clevrer.py:reasonin"], "unknown variant 'reasonin'"),
    (["--config=experiments/command_line.py"], "get_config"),
    (["--workdirr=x"], "workdirr"),
    (["train"], "unexpected argument 'train'"),
]


@pytest.mark.parametrize("arguments, expected", WRONG)
def test_wrong_use_is_one_line(arguments, expected):
    with pytest.raises(ValueError) as caught:
        parse(*arguments)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def exit_of(error):
    def main(config, workdir):
        raise error

    with pytest.raises(SystemExit) as caught:
        command_line.run(main, QUICKSTART, ["experiments/program.py", TINY])
    return caught.value.code


@pytest.mark.parametrize(
    "error, code",
    [
        (ValueError("first line\nsecond line"), 2),
        (FileNotFoundError("first line"), 2),
        (MemoryError("first line"), 2),
        (FloatingPointError("first line"), 3),
        (SystemExit(143), 143),
    ],
)
def test_exit_codes(error, code, capsys):
    assert exit_of(error) == code
    captured = capsys.readouterr()
    assert captured.err == ("" if code == 143 else "program: first line\n")


def test_a_fault_of_the_program_itself_is_not_hidden(capsys):
    assert exit_of(TypeError("a bug")) == 1
    *trace, last = capsys.readouterr().err.splitlines()
    assert trace[0].startswith("Traceback") and trace[-1] == "TypeError: a bug"
    assert last.startswith("program: this is a fault of oddn_jax 0.1.0: please report the lines above")


def test_help_lists_every_option(capsys):
    with pytest.raises(SystemExit) as caught:
        command_line.run(parse, QUICKSTART, ["program", "--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert "--config.model.num_slots=4" in text and "--config.data.stride=4" in text and "--workdir" in text


def test_mistyped_flag_as_a_program(run_program):
    code, output = run_program("-m", "experiments.clevrer_pretrain", "--config.batch_sise=3")
    assert code == 2
    assert output == "clevrer_pretrain: no option --config.batch_sise, did you mean --config.batch_size?\n"


def test_missing_clevrer_as_a_program(run_program, tmp_path):
    code, output = run_program(
        "-m",
        "experiments.clevrer_pretrain",
        "--config=experiments/configs/clevrer.py:prediction",
        f"--config.data.data_dir={tmp_path}/data",
        f"--workdir={tmp_path}/run",
    )
    assert code == 2
    assert output.count("\n") == 1
    assert f"python -m data_pipelines.build clevrer/64x64 --data_dir={tmp_path}/data --raw_dir=" in output
    assert not (tmp_path / "run").exists()


ALLOCATE_TWICE = """
import resource, sys
import numpy as np
from experiments.machine import preparation
print(preparation.keep_freed_memory())
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(10_000_000)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.parametrize("setting", [{}, {"MALLOC_TRIM_THRESHOLD_": "100000"}])
def test_freed_memory_is_kept_unless_the_environment_says_otherwise(setting):
    outcome = subprocess.run(
        [sys.executable, "-c", ALLOCATE_TWICE], env=os.environ | setting, capture_output=True, text=True
    )
    assert outcome.returncode == 0, outcome.stderr
    kept, first, second = outcome.stdout.split()
    if not setting and kept == "False":
        pytest.skip("an accelerator's plugin, no glibc, or an environment that sets up malloc")
    # 80 MB are 19,500 pages of 4 kB; huge pages would be fewer.
    assert kept == str(not setting)
    assert int(second) < int(first) / 10 if not setting else int(second) > int(first) / 2


def test_home_is_written_out_in_flags_and_config_files(tmp_path, monkeypatch):
    """All options that name files or folders: the run's, the data's, what it begins with, features."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own.py").write_text(
        "from experiments.configs import clevrer\n"
        "def get_config(variant=''):\n"
        "    config = clevrer.quickstart()\n"
        "    config.workdir, config.data.data_dir = '~/runs', '~/data'\n"
        "    return config\n"
    )
    config, options = parse("--config=~/own.py", "--workdir=~/other", "--config.init_from=~/before")
    assert (config.workdir, config.data.data_dir) == (f"{tmp_path}/runs", f"{tmp_path}/data")
    assert (config.init_from, options.workdir) == (f"{tmp_path}/before", f"{tmp_path}/other")
    own = configs.VQAConfig(data_dir="~/data", features_of="~/run", features_dir="~/features", workdir="./~")
    configs.expand_folders(own)
    assert (own.data_dir, own.features_of) == (f"{tmp_path}/data", f"{tmp_path}/run")
    assert (own.features_dir, own.workdir) == (f"{tmp_path}/features", "./~")
    with pytest.raises(ValueError, match="no home folder ~nobody_at_all"):
        parse(TINY, "--config.workdir=~nobody_at_all/runs")
