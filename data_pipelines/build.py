"""Builds data sets: `python -m data_pipelines.build NAME[/CONFIG] --data_dir=DIR [--raw_dir=DIR] [--option=value]`.

The options of a config (see `--help` after the name) make a config of their own, whose name is derived from them.
`--split=NAME` builds one split and leaves the others for later. A build that was stopped goes on with the same command.
`--shard=I --num_shards=N` makes every N-th part of the data set: N machines with one folder make it together.
"""

import argparse
import logging
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from data_pipelines.claims import FILENAME, claim
from data_pipelines.command_line import Parser, exit_code
from data_pipelines.configs import (
    DATASETS,
    available_splits,
    builder_class,
    make_config,
    option_fields,
    option_type,
    verify,
)
from data_pipelines.datasets import (
    VERSION,
    build_command,
    built_splits,
    check_card,
    dataset_path,
    read_card,
    read_indices,
)
from data_pipelines.home import expand_arguments
from data_pipelines.parallel import default_jobs

__all__ = [
    "VERSION",
    "BuildSummary",
    "available_splits",
    "build",
    "built_splits",
    "dataset_path",
    "main",
    "make_config",
    "option_fields",
    "verify",
]


class BuildSummary(NamedTuple):
    """What a data set holds. Files are named with the reason for which they were not used."""

    splits: dict[str, int]  # videos of the splits that are there
    incomplete_splits: dict[str, tuple[int, int]]  # parts that are there, and that there will be
    frames: int
    skipped: tuple[tuple[str, str], ...]  # the video was left out
    incomplete: tuple[tuple[str, str], ...]  # the video was kept without what the file should have given
    bytes: int  # on disk
    path: Path

    @property
    def videos(self) -> int:
        return sum(self.splits.values())


def build(
    name: str,
    config,
    data_dir: str | Path,
    *,
    splits: Collection[str] | None = None,
    raw_dir: str | Path | None = None,
    jobs: int | None = None,
    shard: int = 0,
    num_shards: int = 1,
    strict: bool = False,
    progress: bool = True,
) -> BuildSummary:
    """Builds a data set or some splits of it; returns at once where they are there already.

    Damaged or missing files are named on stderr and left out. What an interrupted build has made is no data set; the
    next one goes on from there. Two builds of one data set wait for each other, if they make the same shard. The bytes
    depend neither on `jobs` nor on the shards nor on the order of the splits.

    Args:
        name: one of `DATASETS`.
        config: the name of a config, or a config of `make_config`.
        data_dir: data sets are laid out below it as TFDS does: NAME/CONFIG/VERSION.
        splits: None for all that the simulator makes, or that there are raw files of.
        raw_dir: holds the unzipped raw files; only for data sets that have some.
        jobs: processes that read or render, None for one a processor. They never import the calling script.
        shard: which share of the parts is made, from 0; a split comes about when all of its parts are there.
        num_shards: how many shares there are, each made by another machine.
        strict: the first damaged or missing file is an error.
        progress: shows progress on stderr.

    Raises:
        FileNotFoundError: the raw files are not there.
        ValueError: wrong names or options, unusable raw files, a data set there that another release simulated
            otherwise, or with `strict` the first problem.
        OSError: the disk is full, or a process was killed; the same command goes on.
    """
    builder = builder_class(name)
    config = make_config(name, config) if isinstance(config, str) else config
    path = dataset_path(name, config.name, data_dir)
    present = built_splits(path)
    if present and (card := builder.simulated_card(config)) is not None:
        check_card(path, read_card(path), card)
    simulated = builder.simulated_splits(config)
    # Of raw files nobody knows without looking at them; what was built from them is enough where they are not named.
    wanted = tuple(splits or simulated or (present if raw_dir is None else ()))
    if wanted and set(wanted) <= set(present):
        return _summary(path, {}, strict)
    if not simulated:
        if raw_dir is None:
            missing = [split for split in splits or () if split not in present]
            lacking = f"{path} has no split {missing[0]!r}" if present else f"{path} is not built"
            raise ValueError(
                f"{lacking}, and {name} is built from files that you download: {build_command(path, *missing)}"
            )
        if not Path(raw_dir).is_dir():
            raise FileNotFoundError(f"the raw folder {raw_dir} does not exist")
    jobs = default_jobs() if jobs is None else jobs
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, not {jobs}")
    if not 0 <= shard < num_shards:
        raise ValueError(f"shard must be from 0 to num_shards - 1, not {shard} of {num_shards}")

    path.parent.mkdir(parents=True, exist_ok=True)
    # Two that make the same would do no harm, but the same work.
    of_shard = FILENAME if num_shards == 1 else f"shard-{shard}-of-{num_shards}-{FILENAME}"
    with claim(path.parent, wait=True, filename=of_shard):
        make = _maker(builder, config, jobs, strict, progress, shard, num_shards)
        lacking = make(path, Path(raw_dir) if raw_dir else None, wanted or None)
    return _summary(path, lacking, strict)


def _maker(builder, config, *options: Any):
    from data_pipelines.builders.records import BuildOptions

    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)  # TFDS tells that the config is another than its listed ones
    try:
        # TFDS would take over what it finds in a data set's folder; here the folder is only named when it is written.
        with tempfile.TemporaryDirectory() as nowhere:
            made = builder(data_dir=nowhere, config=config, file_format="array_record")
    finally:
        logger.setLevel(level)
    made.options = BuildOptions(*options)
    return made.make


def _summary(path: Path, lacking: dict[str, tuple[int, int]], strict: bool) -> BuildSummary:
    indices = read_indices(path) if built_splits(path) or not lacking else {}
    problems = [problem for index in indices.values() for problem in index["problems"]]
    if strict and problems:
        file, reason, _ = problems[0]
        raise ValueError(
            f"{path} was built without --strict and lacks what {file} should have given: {reason}"
        )
    entries = [entry for index in indices.values() for entry in index["entries"]]
    skipped, incomplete = (
        tuple((file, reason) for file, reason, skipped in problems if skipped is wanted)
        for wanted in (True, False)
    )
    return BuildSummary(
        splits={split: len(index["entries"]) for split, index in indices.items()},
        incomplete_splits=lacking,
        frames=sum(entry.get("num_frames", 0) for entry in entries),
        skipped=skipped,
        incomplete=incomplete,
        bytes=sum(file.stat().st_size for file in path.iterdir()) if indices else 0,
        path=path,
    )


def _print_summary(summary: BuildSummary) -> None:
    print(f"videos      {summary.videos}")
    print(f"frames      {summary.frames}")
    for kind, problems in (("skipped", summary.skipped), ("incomplete", summary.incomplete)):
        print(f"{kind:<12}{len(problems)}")
        for file, reason in problems:
            print(f"            {file}: {reason}")
    print(f"bytes       {summary.bytes}")
    print(f"splits      {', '.join(f'{split} {number}' for split, number in summary.splits.items())}")
    print(f"path        {summary.path}")
    for split, (there, all_of_it) in summary.incomplete_splits.items():
        print(
            f"{split} is not there yet: {there} of {all_of_it} parts are. Other shards make theirs; the same command "
            "without --shard makes all that lack"
        )


def _parse(arguments: list[str]) -> tuple[argparse.Namespace, str, Any]:
    parser = Parser(
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
    parser.add_argument(
        "--split", action="append", help="only this split; may be given again for another (default: all)"
    )
    parser.add_argument("--jobs", type=int, help="processes (default: one a processor)")
    parser.add_argument(
        "--shard", type=int, default=0, help="which share of the parts, from 0 (default: %(default)s)"
    )
    parser.add_argument(
        "--num_shards", type=int, default=1, help="in how many shares, one a machine (default: %(default)s)"
    )
    parser.add_argument("--strict", action="store_true", help="the first damaged or missing file is an error")
    parser.add_argument("--help", action="help", help="shows this")
    name = next((argument for argument in arguments if not argument.startswith("-")), "")
    name, _, base = name.partition("/")
    base_config = None
    if name:
        base_config = make_config(name, base or None)
        group = parser.add_argument_group(f"options of {name}, as in {name}/{base_config.name}")
        for field in option_fields(base_config):
            value = getattr(base_config, field.name)
            text = f"{field.metadata['help']} (default: %(default)s)"
            group.add_argument(f"--{field.name}", type=option_type(value), default=value, help=text)
    parsed = parser.parse_args(arguments)
    if base_config is None:
        raise ValueError(f"name a data set: {', '.join(DATASETS)} (--help tells more)")
    options = {field.name: getattr(parsed, field.name) for field in option_fields(base_config)}
    return parsed, name, make_config(name, base_config.name, **options)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""

    def body():
        parsed, name, config = _parse(expand_arguments(sys.argv[1:] if arguments is None else arguments))
        before = built_splits(dataset_path(name, config.name, parsed.data_dir))
        options = {key: getattr(parsed, key) for key in ("raw_dir", "jobs", "shard", "num_shards", "strict")}
        try:
            summary = build(name, config, parsed.data_dir, splits=parsed.split, **options)
        except KeyboardInterrupt:
            print("interrupted; the same command goes on from here", file=sys.stderr)
            raise
        if tuple(summary.splits) == before and not summary.incomplete_splits:
            print(f"{summary.path} was built already; remove the folder to build it again")
        _print_summary(summary)

    return exit_code(body, lambda: "build")


if __name__ == "__main__":
    sys.exit(main())
