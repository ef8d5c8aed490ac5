"""What the programs accept, asked of their own parsers: nothing is run."""

import contextlib
import io
import pathlib
import re
import runpy
import sys
import tomllib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

from data_pipelines import build, configs
from data_pipelines.simulator.__main__ import _parser as simulator_parser
from data_pipelines.simulator.costs import _parser as costs_parser
from experiments import command_line
from experiments.config import TrainConfig, check
from tests.docs.pages import ROOT

PROGRAMS = sorted(path.stem for path in (ROOT / "experiments").glob("*.py") if "__main__" in path.read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Programs that are not ours; what follows is theirs to check, but for the files and extras that are ours.
OTHERS = "bash pip pytest ruff lint-imports mkdocs pre-commit build venv git tensorboard pre_commit".split()


class Unknown(AssertionError):
    """A command that its program would refuse."""


def accept(words: Sequence[str]) -> None:
    """Raises Unknown, with the program's own line, for a command that it would refuse."""
    words = list(words)
    while words and re.fullmatch(r"\w+=.*", words[0]):
        words.pop(0)
    if words and words[0] == "srun":
        words = words[next(i for i, word in enumerate(words) if word.startswith("python")) :]
    if not words:
        return
    if words[0] in ("python", "python3"):
        if words[1] != "-m":
            raise Unknown(f"{words}: not python -m MODULE")
        words = words[2:]
    program, arguments = words[0], words[1:]
    try:
        with refused_as_value_error():
            _parse(program, arguments)
    except (ValueError, OSError) as error:
        raise Unknown(f"{' '.join(words)}: {error}") from None


@contextlib.contextmanager
def refused_as_value_error() -> Iterator[None]:
    """Turns an exit with another code than 0, as argparse ends, into its message."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            yield
    except SystemExit as end:
        if end.code:
            raise ValueError(errors.getvalue().strip()) from None


def _parse(program: str, arguments: list[str]) -> None:
    if program == "data_pipelines.build":
        build._parse(arguments)
    elif program == "data_pipelines.simulator":
        simulator_parser().parse_args(arguments)
    elif program == "data_pipelines.simulator.costs":
        costs_parser().parse_args(arguments)
    elif program.removeprefix("experiments.") in PROGRAMS:
        _parse_experiment(program.removeprefix("experiments."), arguments)
    elif program in OTHERS:
        _parse_other(program, arguments)
    else:
        raise ValueError("no program of ours, and none that the tests know")


def declared(program: str) -> tuple[Any, tuple, dict]:
    """What a program hands to the command line: the function, its arguments and its keywords."""
    calls = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", RuntimeWarning)  # runpy, of a module that others have imported
        for name in ("run", "run_tool"):
            function = getattr(command_line, name)
            stack.enter_context(
                mock.patch.object(
                    command_line,
                    name,
                    lambda *args, function=function, **kwargs: calls.append((function, args, kwargs)),
                )
            )
        runpy.run_module(f"experiments.{program}", run_name="__main__")
    (call,) = calls
    return call


def _parse_experiment(program: str, arguments: list[str]) -> None:
    function, (_, second, *_), keywords = declared(program)
    argv = [f"experiments/{program}.py", *arguments]
    if function is command_line.run_tool:
        with mock.patch.object(command_line, "prepare", lambda: None):
            command_line.run_tool(lambda options: None, second, argv)
        return
    sys.modules.pop("config_config", None)  # ml_collections would load the next file over the last one
    kind = keywords.pop("kind", TrainConfig)
    config, _ = command_line.parse(argv, second, keywords, kind)
    if isinstance(config, TrainConfig):
        check(config, num_devices=1)


def _parse_other(program: str, arguments: list[str]) -> None:
    for word in arguments:
        if re.fullmatch(r"[\w./]+\.(py|txt)", word) and not (ROOT / word).exists():
            raise ValueError(f"there is no {word}")
        for extra in re.findall(r"(?<=\[)[\w,]+(?=\])", word):
            if unknown := set(extra.split(",")) - set(PROJECT["optional-dependencies"]):
                raise ValueError(f"there is no extra {unknown}")
    if program == "bash" and not (ROOT / pathlib.Path(arguments[0])).is_file():
        raise ValueError(f"there is no {arguments[0]}")


def options() -> set[str]:
    """Every option of every program, as "--name"."""
    texts = [simulator_parser().format_help(), costs_parser().format_help()]
    for name in configs.DATASETS:
        texts.append(_help(build._parse, [name, "--help"]))
    for command in ("clevrer", "questions", "towers"):
        texts.append(_help(simulator_parser().parse_args, [command, "--help"]))
    for program in PROGRAMS:
        function, (_, second, *_), keywords = declared(program)
        if function is command_line.run_tool:
            texts.append(_help(command_line.run_tool, lambda options: None, second, ["program.py", "--help"]))
        else:
            texts += [f"--{name}" for name in keywords if name != "kind"]
            texts += [f"--{name}" for name in command_line._flags({})]
    return {option for text in texts for option in re.findall(r"--[a-z]\w*", text)} | {"--config"}


def _help(function, *arguments) -> str:
    output = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(output):
        function(*arguments)
    return output.getvalue()
