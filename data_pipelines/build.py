"""Builds data sets: `python -m data_pipelines.build NAME[/CONFIG] --data_dir=DIR [--raw_dir=DIR] [--option=value]`.

The options of a config (see `--help` after the name) make a config of their own, whose name is derived from them.
"""

import argparse
import contextlib
import dataclasses
import fcntl
import importlib
import io
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from data_pipelines.datasets import CARD_FILENAME, VERSION, dataset_path, is_built, read_index
from data_pipelines.parallel import default_jobs

__all__ = [
    "BuildSummary",
    "build",
    "dataset_path",
    "is_built",
    "main",
    "make_config",
    "option_fields",
    "verify",
]

DATASETS = (
    "clevrer",
    "simulated_clevrer",
    "block_towers",
    "simulated_block_towers",
    "clevrer_qa",
    "simulated_clevrer_qa",
)


class BuildSummary(NamedTuple):
    """What a data set holds. Files are named with the reason for which they were not used."""

    videos: int
    frames: int
    skipped: tuple[tuple[str, str], ...]  # the video was left out
    incomplete: tuple[tuple[str, str], ...]  # the video was kept without what the file should have given
    bytes: int  # on disk
    path: Path


def make_config(name: str, base: str | None = None, **options: Any):
    """A TFDS builder config: one of the named ones, or one with other options and a name derived from them.

    Args:
        name: a data set.
        base: name of the config to start from; None is the first.
        options: fields of the data set's config class.

    Raises:
        ValueError: there is no such data set, config or option, or an option has no sensible value.
    """
    configs = {config.name: config for config in _builder_class(name).BUILDER_CONFIGS}
    base = base or next(iter(configs))
    if base not in configs:
        raise ValueError(f"{name} has no config {base!r}; there are {', '.join(configs)}")
    config = configs[base]
    known = {field.name: getattr(config, field.name) for field in option_fields(config)}
    unknown = options.keys() - known.keys()
    if unknown:
        raise ValueError(f"{name} has no option {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    changed = {key: options[key] for key in known if options.get(key, known[key]) != known[key]}
    if not changed:
        return config
    suffix = "-".join(f"{key}_{value}" for key, value in changed.items())
    return dataclasses.replace(config, name=f"{base}-{suffix}", **changed)


def option_fields(config) -> list[dataclasses.Field]:
    """The fields of a data set's config that say what is built, without those that every TFDS config has."""
    return [field for field in dataclasses.fields(config) if "help" in field.metadata]


def build(
    name: str,
    config,
    data_dir: str | Path,
    *,
    raw_dir: str | Path | None = None,
    jobs: int | None = None,
    strict: bool = False,
    progress: bool = True,
) -> BuildSummary:
    """Builds a data set, or returns at once where it is there already.

    Damaged or missing files are named on stderr and left out. An interrupted build leaves nothing that looks like a
    data set; the next one removes what is left of it. Two builds of one data set wait for each other. The bytes do not
    depend on `jobs`.

    Args:
        name: one of `DATASETS`.
        config: the name of a config, or a config of `make_config`.
        data_dir: data sets are laid out below it as TFDS does: NAME/CONFIG/VERSION.
        raw_dir: holds the unzipped raw files; only for data sets that have some.
        jobs: processes that read or render, None for one a processor. They are spawned: a script that asks for more
            than one needs its `if __name__ == "__main__"`.
        strict: the first damaged or missing file is an error.
        progress: shows progress on stderr.

    Raises:
        FileNotFoundError: the raw files are not there.
        ValueError: wrong names or options, unusable raw files, a data set there that another release simulated
            otherwise, or with `strict` the first problem.
    """
    builder_class = _builder_class(name)
    config = make_config(name, config) if isinstance(config, str) else config
    path = dataset_path(name, config.name, data_dir)
    if is_built(name, config.name, data_dir):
        _check_card(path, builder_class.simulated_card(config))
        return _summary(path, strict)
    if builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS is not None:
        if raw_dir is None:
            raise ValueError(
                f"{path} is not built, and {name} is built from files that you download: "
                f"python -m data_pipelines.build {name}/{config.name} --data_dir={data_dir} --raw_dir=FOLDER"
            )
        if not Path(raw_dir).is_dir():
            raise FileNotFoundError(f"the raw folder {raw_dir} does not exist")
    jobs = default_jobs() if jobs is None else jobs
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, not {jobs}")

    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent / ".lock"):
        if is_built(name, config.name, data_dir):
            return _summary(path, strict)
        if path.exists():
            raise ValueError(f"{path} is there but is no data set of this project: remove it")
        # TFDS writes below such a name and renames at the end.
        for leftover in path.parent.glob(f"incomplete.*_{VERSION}"):
            shutil.rmtree(leftover)
        _write(builder_class, config, data_dir, raw_dir, jobs, strict, progress)
    return _summary(path, strict)


def _write(builder_class, config, data_dir, raw_dir, jobs: int, strict: bool, progress: bool) -> None:
    import tensorflow_datasets as tfds

    from data_pipelines.builders.records import BuildOptions

    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        # TFDS announces on stdout what it is about to do; results belong there.
        with contextlib.redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as download_dir:
            builder = builder_class(data_dir=str(data_dir), config=config, file_format="array_record")
            builder.options = BuildOptions(jobs, strict, progress)
            # Nothing is downloaded, but TFDS makes the folders for it.
            builder.download_and_prepare(
                download_dir=download_dir,
                download_config=tfds.download.DownloadConfig(manual_dir=raw_dir, try_download_gcs=False),
            )
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    # The system releases the lock of a killed process.
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another build of {path.parent}", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _builder_class(name: str):
    if name not in DATASETS:
        raise ValueError(f"there is no data set {name!r}; there are {', '.join(DATASETS)}")
    return importlib.import_module(f"data_pipelines.builders.{name}.{name}_dataset_builder").Builder


def verify(name: str, config_name: str, data_dir: str | Path) -> None:
    """Raises ValueError for a data set that another release simulated otherwise under a name that this one has too."""
    named = {config.name: config for config in _builder_class(name).BUILDER_CONFIGS}
    if config_name in named:
        expected = _builder_class(name).simulated_card(named[config_name])
        _check_card(dataset_path(name, config_name, data_dir), expected)


def _check_card(path: Path, expected: dict | None) -> None:
    """Refuses a simulated data set of the same name that another release made from other settings."""
    if expected is None:
        return
    card = json.loads((path / CARD_FILENAME).read_text())
    for key in ("simulator", "config", "options"):
        if card[key] != expected[key]:
            raise ValueError(
                f"{path} was simulated by another release with another {key} than this one has under the name "
                f"{path.parent.name}: remove the folder to simulate it again"
            )


def _summary(path: Path, strict: bool) -> BuildSummary:
    index = read_index(path)
    if strict and index["problems"]:
        file, reason, _ = index["problems"][0]
        raise ValueError(
            f"{path} was built without --strict and lacks what {file} should have given: {reason}"
        )
    entries = [entry for split in index["splits"].values() for entry in split]
    problems = {
        wanted: tuple((file, reason) for file, reason, skipped in index["problems"] if skipped is wanted)
        for wanted in (True, False)
    }
    return BuildSummary(
        videos=len(entries),
        frames=sum(entry.get("num_frames", 0) for entry in entries),
        skipped=problems[True],
        incomplete=problems[False],
        bytes=sum(file.stat().st_size for file in path.iterdir()),
        path=path,
    )


def _print_summary(summary: BuildSummary, was_built: bool) -> None:
    if was_built:
        print(f"{summary.path} was built already; remove the folder to build it again")
    print(f"videos      {summary.videos}")
    print(f"frames      {summary.frames}")
    for kind, problems in (("skipped", summary.skipped), ("incomplete", summary.incomplete)):
        print(f"{kind:<12}{len(problems)}")
        for file, reason in problems:
            print(f"            {file}: {reason}")
    print(f"bytes       {summary.bytes}")
    print(f"path        {summary.path}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise ValueError(message)  # one line, without the usage in front


def _parse(arguments: list[str] | None) -> tuple[argparse.Namespace, Any]:
    parser = _Parser(
        prog="python -m data_pipelines.build",
        description="Builds a data set. `NAME --help` lists the options of its configs.",
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument(
        "dataset", metavar="NAME[/CONFIG]", nargs="?", help=f"NAME is one of {', '.join(DATASETS)}"
    )
    parser.add_argument("--data_dir", default="data", help="where data sets lie (default: %(default)s)")
    parser.add_argument("--raw_dir", help="the unzipped raw files, for data sets that have some")
    parser.add_argument("--jobs", type=int, help="processes (default: one a processor)")
    parser.add_argument("--strict", action="store_true", help="the first damaged or missing file is an error")
    parser.add_argument("--help", action="help", help="shows this")
    name = next((argument for argument in arguments or [] if not argument.startswith("-")), "")
    name, _, base = name.partition("/")
    base_config = None
    if name:
        base_config = make_config(name, base or None)
        group = parser.add_argument_group(f"options of {name}, as in {name}/{base_config.name}")
        for field in option_fields(base_config):
            value = getattr(base_config, field.name)
            kind = _boolean if isinstance(value, bool) else type(value)
            text = f"{field.metadata['help']} (default: %(default)s)"
            group.add_argument(f"--{field.name}", type=kind, default=value, help=text)
    parsed = parser.parse_args(arguments)
    if base_config is None:
        raise ValueError(f"name a data set: {', '.join(DATASETS)} (--help tells more)")
    options = {field.name: getattr(parsed, field.name) for field in option_fields(base_config)}
    return parsed, make_config(name, base_config.name, **options)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    try:
        parsed, config = _parse(sys.argv[1:] if arguments is None else arguments)
        name = parsed.dataset.partition("/")[0]
        was_built = is_built(name, config.name, parsed.data_dir)
        summary = build(
            name, config, parsed.data_dir, raw_dir=parsed.raw_dir, jobs=parsed.jobs, strict=parsed.strict
        )
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted, nothing was kept", file=sys.stderr)
        return 130
    _print_summary(summary, was_built)
    return 0


if __name__ == "__main__":
    sys.exit(main())
