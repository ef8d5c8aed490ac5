"""What all programs share: their flags, one-line errors, exit codes."""

import argparse
import difflib
import inspect
import os
import pathlib
import re
import sys
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn, get_args

import jax
from absl import flags
from ml_collections import config_flags

from data_pipelines.command_line import Parser, exit_code
from data_pipelines.home import expand_arguments
from experiments import config as configs
from experiments.config import TrainConfig
from experiments.machine import processes
from experiments.machine.guards import explain_device
from experiments.machine.preparation import prepare

_DEFINE = {int: flags.DEFINE_integer, str: flags.DEFINE_string, bool: flags.DEFINE_bool}
ROOT = pathlib.Path(__file__).parent.parent  # the clone, or the folder where the packages are installed


def run(
    main: Callable[..., None],
    default_config: str,
    argv: Sequence[str] | None = None,
    kind: type | types.UnionType = TrainConfig,
    **own: tuple[int | str | bool, str],
) -> NoReturn:
    """Parses the command line, calls `main(config, workdir)` and exits.

    Exit codes: as `exit_code`; 128 + n saved and ended by signal n. With several processes, 0 after a signal, and 1
    or 134 where another was lost.

    Args:
        default_config: the `--config` of a bare command.
        kind: the class of the program's configs, or several, `A | B`.
        own: flags of this program alone, with their defaults and what they mean; `main` gets them by name.
    """
    argv = list(sys.argv if argv is None else argv)
    program = pathlib.Path(argv[0]).stem

    def body():
        nonlocal program
        config, options = parse(argv, default_config, own, kind)
        if options.help:
            print(help_text(main, program, default_config, config, own))
            return
        jax.config.update("jax_debug_nans", options.debug)
        prepare()
        program += processes.join(
            options.coordinator_address, options.num_processes, options.process_id, options.heartbeat_timeout
        )
        values = {name: options[name].value for name in own}
        with explain_device():
            main(config, pathlib.Path(options.workdir or config.workdir), **values)

    code = exit_code(body, lambda: program, "--debug" in argv, processes.abandon)
    processes.leave(failed=bool(code))
    sys.exit(code)


def run_tool(
    main: Callable[[argparse.Namespace], None],
    arguments: Callable[[argparse.ArgumentParser], None],
    argv: Sequence[str] | None = None,
) -> NoReturn:
    """Parses the command line of a program that does not train, calls `main(options)` and exits as `run` does.

    Args:
        arguments: adds the program's own options to the parser; `--debug` and `--help` are there already.
    """
    argv = list(sys.argv if argv is None else argv)
    program = pathlib.Path(argv[0]).stem
    parser = Parser(
        prog=f"python -m experiments.{program}",
        description=inspect.getdoc(inspect.getmodule(main)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--debug", action="store_true", help="show where errors come from")
    arguments(parser)

    def body():
        options = parser.parse_args(expand_arguments(argv[1:]))
        prepare()
        with explain_device():
            main(options)

    sys.exit(exit_code(body, lambda: program, "--debug" in argv))


def overridden_options(argv: Sequence[str] | None = None) -> list[str]:
    """The options that a command line overrides: "model.num_slots" for `--config.model.num_slots=9`."""
    given = "\n".join((sys.argv if argv is None else argv)[1:])
    return re.findall(r"(?m)^--?(?:no)?config\.([^=\n]+)", given)


def parse(
    argv: Sequence[str],
    default_config: str,
    own: Mapping[str, tuple[int | str | bool, str]] = MappingProxyType({}),
    kind: type | types.UnionType = TrainConfig,
) -> tuple[Any, flags.FlagValues]:
    """Reads the config, of class `kind`, with its overrides, and the other options.

    Raises:
        ValueError: a flag, a config file, a variant, an option or a value is wrong; one line says which.
    """
    argv = _locate_configs(expand_arguments(argv))
    files = re.findall(r"(?m)^--?config[=\n]([^\n]*)", "\n".join(argv[1:]))
    # First as it is without overrides: which options it has hangs on its model.
    known = configs.flatten(
        _read(_flags(own), [argv[0], *(f"--config={file}" for file in files)], default_config, kind)[0]
    )
    for name in overridden_options(argv):
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise ValueError(
                f"no option --config.{name}" + (f", did you mean --config.{close[0]}?" if close else "")
            )
    options = _flags(own)
    config, rest = _read(options, argv, default_config, kind)
    if rest:
        raise ValueError(f"unexpected argument {rest[0]!r}: options look like --config.num_steps=100")
    configs.expand_folders(config)
    return config, options


def _locate_configs(argv: Sequence[str]) -> list[str]:
    """A command line whose config files are where it says, or else beside the packages: `experiments/configs/...`.

    Raises:
        ValueError: there is no such file.
    """

    def locate(found: re.Match) -> str:
        flag, path, variant = found.groups()
        for place in (pathlib.Path(path), ROOT / path):
            if place.is_file():
                return f"{flag}{place}{variant}"
        raise ValueError(f"no config file {path!r}")

    given = re.sub(r"(?m)^(--?config[=\n])([^:\n]*)([^\n]*)", locate, "\n".join(argv))
    return given.split("\n")


def _flags(own: Mapping[str, tuple[int | str | bool, str]]) -> flags.FlagValues:
    options = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "the run's folder", flag_values=options)
    flags.DEFINE_bool("debug", False, "trace errors", flag_values=options)
    flags.DEFINE_string("coordinator_address", None, "HOST:PORT of process 0", flag_values=options)
    flags.DEFINE_integer("num_processes", None, "how many processes train together", flag_values=options)
    flags.DEFINE_integer("process_id", None, "which of them this is, from 0", flag_values=options)
    flags.DEFINE_integer("heartbeat_timeout", 100, "seconds until one is lost", flag_values=options)
    flags.DEFINE_bool("help", False, "this text", short_name="h", flag_values=options)
    for name, (default, meaning) in own.items():
        _DEFINE[type(default)](name, default, meaning, flag_values=options)
    return options


def _read(
    options: flags.FlagValues, argv: Sequence[str], default_config: str, kind: type | types.UnionType
) -> tuple[Any, list[str]]:
    """The config, and the arguments that are no flags."""
    try:
        with warnings.catch_warnings():
            # ml_collections still loads files by a call that Python means to remove.
            warnings.filterwarnings("ignore", "the load_module", DeprecationWarning)
            config_flags.DEFINE_config_file("config", default_config, flag_values=options, sys_argv=argv)
            rest = options(argv)[1:]
            config = options.config
    except Exception as error:  # absl, ml_collections and the config file each raise their own kinds
        raise ValueError(_last_line(error)) from error
    if not isinstance(config, kind):
        names = " and no ".join(each.__name__ for each in get_args(kind) or (kind,))
        raise ValueError(f"--config={options['config'].config_filename}: its get_config() returns no {names}")
    return config, rest


def _last_line(error: Exception) -> str:
    """The one line that matters: ml_collections puts a traceback in front of what a config file raised."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[-1]
    return line.removeprefix("ValueError: ").removeprefix("AttributeError: ")


def help_text(
    main: Callable,
    program: str,
    default_config: str,
    config: Any,
    own: Mapping[str, tuple[int | str | bool, str]],
) -> str:
    """What `--help` prints: the program's docstring, its flags, and every option with its value."""
    options = "\n".join(f"  --config.{name}={value!r}" for name, value in configs.flatten(config).items())
    default = os.path.relpath(default_config, ROOT)
    kinds = {int: "=NUMBER", str: "=TEXT", bool: ""}
    usage = "".join(f" [--{name}{kinds[type(value)]}]" for name, (value, _) in own.items())
    described = "".join(
        f"  --{name}  {meaning}" + (f", default {value}\n" if type(value) is int else "\n")
        for name, (value, meaning) in own.items()
    )
    return (
        f"{inspect.getdoc(inspect.getmodule(main))}\n\n"
        f"usage: python -m experiments.{program} [--config=FILE.py:VARIANT] [--config.OPTION=VALUE ...] "
        f"[--workdir=DIR] [--debug]{usage}\n\n"
        f"  --config   default {default}; its header lists the variants\n"
        f"  --workdir  the run's folder, default {config.workdir}\n"
        f"  --debug    show where errors come from, and stop at the first NaN (slow)\n{described}\n"
        "Several processes, one or more a host, train together when each is given\n"
        "  --coordinator_address  HOST:PORT on the host of process 0, which all can reach\n"
        "  --num_processes        how many there are\n"
        "  --process_id           which one this is, from 0\n"
        "  --heartbeat_timeout    seconds of silence after which one counts as lost, default 100\n"
        "or, without the first three, when `srun` starts them.\n\n"
        f"Options of this config:\n{options}"
    )
