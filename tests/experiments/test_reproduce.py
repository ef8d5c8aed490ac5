"""The paper's tables again: the program, with runs that are made up."""

import csv
import json
import re
import shlex

import numpy as np
import pytest

from experiments import reproduce
from experiments.reproduction import running, sweep
from experiments.reproduction.targets import TARGETS
from tests.experiments import small_reproduction


def test_a_dry_run_touches_nothing(tmp_path, capsys):
    workdir, seed_1 = tmp_path / "runs", "tiny/simulated_clevrer-quickstart/iodine/seed_1"
    arguments = ("--dry_run", "--timed_steps=0", f"--workdir={workdir}", f"--data_dir={tmp_path / 'data'}")
    reproduce.main(small_reproduction.options("table3", *arguments))
    assert list(tmp_path.iterdir()) == []
    said = capsys.readouterr().out
    assert said.count("0 of 100   unknown: nothing was measured") == 4 and "4 runs of unknown cost" in said

    # Another seed of IODINE has logged 3 images a second: 100 steps of 2 clips of 3 frames are 200 seconds.
    (workdir / seed_1).mkdir(parents=True)
    row = {"step": 10, "split": "train", "images_per_second": 3.0, "frames": 3, "coarseness": 1}
    (workdir / seed_1 / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    before = sorted(tmp_path.rglob("*"))
    reproduce.main(small_reproduction.options("table3", *arguments))
    assert f"200 (by the log of {workdir / seed_1})" in capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("table3", "--seeds=0"), "--seeds must be from 1 to 1000, not 0"),
        (("table3", "--seeds=4294967296", "--dry_run"), "--seeds must be from 1 to 1000, not 4294967296"),
        (("table3", "--jobs=-1"), "--jobs must be at least 0, not -1"),
        (
            ("table3", "--budget=full", "--jobs=2"),
            "--jobs=2: with the full budget or an accelerator a run needs all there is",
        ),
        (("table3", "--timed_steps=-1", "--dry_run"), "--timed_steps must be at least 0, not -1"),
        (("page", "--only=ODDN, seed 0"), "--only='ODDN, seed 0': page is made of no runs"),
        (("table4", "--only=ODDN, seed 0"), "--only='ODDN, seed 0': table4 is made of no runs"),
        (
            ("all", "--data=a/b"),
            "--data=a/b: figure8 is of block towers, all others are not; name one target.*",
        ),
        (("figure8", "--data=clevrer/64x64"), "--data=clevrer/64x64: figure8 is of block towers, .*"),
        (
            ("table3", "--data=block_towers/64x64"),
            "--data=block_towers/64x64: figure8 is of block towers, .*",
        ),
        (("table3", "--data=clevrer"), "--data 'clevrer' is no NAME/CONFIG of a data set"),
    ],
)
def test_wrong_use(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        reproduce.main(small_reproduction.options(*arguments))


def test_missing_real_data_is_one_line(tmp_path):
    arguments = ("table3", "--budget=full", f"--data_dir={tmp_path}", f"--workdir={tmp_path / 'runs'}")
    with pytest.raises(FileNotFoundError, match=r"^no data set .*clevrer/64x64.* build it with"):
        reproduce.main(small_reproduction.options(*arguments))
    assert not (tmp_path / "runs").exists()


def test_a_failed_run_has_its_line_and_the_table_goes_on(tmp_path, monkeypatch, capsys):
    def measure(entry, has_pictures):
        if entry.row == "PROVIDE":
            raise FloatingPointError("loss is not finite at steps 7\nmore")
        return small_reproduction.record_of(1.0)

    monkeypatch.setattr(running, "measure", measure)
    monkeypatch.setattr(sweep, "check_data", lambda entries: None)
    with pytest.raises(
        ValueError, match=r"^1 of 4 runs failed, first PROVIDE, seed 0: loss is not finite at steps 7;"
    ):
        reproduce.main(small_reproduction.options("table3", f"--workdir={tmp_path / 'runs'}"))
    said = capsys.readouterr()
    assert len(re.findall(r"^  PROVIDE +\S+ +failed$", said.out, re.MULTILINE)) == 4  # one for each metric
    assert "*simulated*" in said.out and "ODDN-l is trained as ODDN: clips of 3 frames" in said.out
    assert "failed: loss is not finite at steps 7\n" in said.err
    assert "unknown (0 of 6 pairs as in the paper, 3 too close, 3 unknown)" in said.out
    with open(tmp_path / "runs" / "tiny-table3.csv") as file:
        lines = list(csv.DictReader(file))
    assert {line["simulated"] for line in lines} == {"simulated"}
    assert [line["ours"] for line in lines if line["row"] == "PROVIDE"] == [""] * 4
    assert {
        (line["row"], line["paper"]) for line in lines if line["metric"] == "ari" and line["seed"] == "all"
    } == {
        ("IODINE", "0.096"),
        ("PROVIDE", "0.228"),
        ("ODDN", "0.156"),
        ("ODDN-l", "0.233"),
    }


def test_references_and_curves_of_figure_7(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        running, "measure", lambda entry, _: small_reproduction.record_of(2.0 - (entry.row == "ODDN"), False)
    )
    monkeypatch.setattr(sweep, "check_data", lambda entries: None)
    reproduce.main(small_reproduction.options("figure7", f"--workdir={tmp_path / 'runs'}", "--seeds=2"))
    said = capsys.readouterr().out
    assert "yes (4 of 4 pairs as in the paper)" in said and "simulated" not in said
    assert re.search(r"^  copy of the last frame +- +3\.0+ ± 0\.10+$", said, re.MULTILINE)
    with open(tmp_path / "runs" / "tiny-figure7.csv") as file:
        lines = list(csv.DictReader(file))
    curve = [line for line in lines if line["row"] == "ODDN" and line["seed"] == "all" and line["ours"]]
    assert [(line["metric"], float(line["ours"])) for line in curve] == [
        ("predicted_mse", 1.5),
        ("predicted_mse_1", 1.0),
        ("predicted_mse_2", 2.0),
    ]
    assert {line["simulated"] for line in lines} == {"real"}


def test_all_is_one_page_that_the_files_make_again(tmp_path, monkeypatch, capsys):
    """Every run once, the first seeds first; the page is rebuilt from the files to the same bytes."""
    measured, trained = [], set()

    def measure(entry, has_pictures):
        measured.append(entry)
        trained.update(stage.folder for stage in entry.stages)
        if entry.row in ("IODINE", "PROVIDE") and entry.seed == 1:
            raise FloatingPointError("loss is not finite at steps 7")
        if entry.stages[-1].folder.name.startswith("answers") or entry.row == "blind":
            facts = {"questions": "some/questions", "num_videos": 3, "references": {}}
            shares = {"n": 8, "per_question": 0.5}
            kept = {
                name: value
                for name, value in small_reproduction.record_of(1.0).items()
                if name not in ("metrics", "data")
            }
            return kept | facts | {"scores": {"descriptive": shares}}
        return small_reproduction.record_of(2.0 - (entry.row == "ODDN")) | {
            "motion": {"mean": 1.0, "standard_error": None, "n": 4}
        }

    picture = {"video": np.zeros((1, 4, 8, 8, 3)), "predicted": np.zeros((1, 2, 8, 8, 3))}
    monkeypatch.setattr(running, "measure", measure)
    monkeypatch.setattr(running, "predictions", lambda stage: picture)
    monkeypatch.setattr(sweep, "check_data", lambda plans: None)
    workdir = tmp_path / "runs"
    command = small_reproduction.options("all", "--budget=small", f"--workdir={workdir}", "--seeds=2")
    with pytest.raises(
        ValueError, match=r"^\d+ of \d+ runs failed, first PROVIDE, seed 1: loss is not finite"
    ):
        reproduce.main(command)
    said = capsys.readouterr()
    assert [entry.seed for entry in measured] == sorted(entry.seed for entry in measured)
    assert said.err.startswith(f"1 of {len(measured)}: table1, ALOE, seed 0: ")
    assert len(re.findall(r"^\d+ of \d+: ", said.err, re.MULTILINE)) == len(measured)
    page = workdir / "small.md"
    assert f"all on one page: {page}" in said.out
    text = page.read_text()
    for target in TARGETS.values():
        assert f"## {target.title}" in text
    assert "*simulated*" in text and "Table 4" in text and "Not made yet" not in text
    assert "`python -m experiments.reproduce table3 --budget=small --only='ODDN-l, seed 0'`" in text
    for link in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert small_reproduction.picture_size(workdir / link)[0] > 100

    # A fresh clone: the files alone.
    clone = tmp_path / "clone"
    clone.mkdir()
    for path in [*workdir.glob("*.csv"), *workdir.glob("*.png")]:
        (clone / path.name).write_bytes(path.read_bytes())
    reproduce.main(small_reproduction.options("page", "--budget=small", f"--workdir={clone}"))
    assert (clone / "small.md").read_text() == text
    (clone / "small-figure8.csv").unlink()
    reproduce.main(small_reproduction.options("page", "--budget=small", f"--workdir={clone}"))
    assert "Not made yet: figure8." in (clone / "small.md").read_text()
    with pytest.raises(FileNotFoundError, match=r"holds no results of the budget tiny"):
        reproduce.main(small_reproduction.options("page", f"--workdir={clone}"))


def test_one_run_alone_writes_no_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(running, "measure", lambda entry, _: small_reproduction.record_of(1.5))
    monkeypatch.setattr(sweep, "check_data", lambda plans: None)
    workdir = tmp_path / "runs"
    reproduce.main(
        small_reproduction.options("table3", f"--workdir={workdir}", "--seeds=3", "--only=ODDN-l, seed 2")
    )
    said = capsys.readouterr()
    assert re.search(r"^  ODDN-l +0\.000103 +1\.500000 ± 0\.100000$", said.out, re.MULTILINE)
    assert "1 of 1: table3, ODDN-l, seed 2" in said.err
    assert not list(workdir.glob("*.csv"))
    with pytest.raises(
        ValueError, match=r"^--only='ODDN, seed 9' is no run of this table; there are IODINE, seed 0;"
    ):
        reproduce.main(small_reproduction.options("table3", f"--workdir={workdir}", "--only=ODDN, seed 9"))


def test_each_command_makes_its_run(tmp_path, monkeypatch):
    """Also of seeds that the budget does not have by itself."""
    monkeypatch.setattr(running, "measure", lambda entry, _: small_reproduction.record_of(1.5))
    monkeypatch.setattr(sweep, "check_data", lambda plans: None)
    reproduce.main(small_reproduction.options("table3", f"--workdir={tmp_path}", "--seeds=2"))
    with open(tmp_path / "tiny-table3.csv") as file:
        commands = {
            (line["row"], line["seed"]): line["command"] for line in csv.DictReader(file) if line["run"]
        }
    assert len(commands) == 8
    for (row, seed), command in commands.items():
        words = shlex.split(command)
        assert words[:3] == ["python", "-m", "experiments.reproduce"]
        plans, *_ = reproduce.planned(small_reproduction.options(*words[3:], f"--workdir={tmp_path}"))
        assert [(entry.row, entry.seed) for entry in plans["table3"]] == [(row, int(seed))]


def test_the_page_is_not_written_dry(tmp_path, capsys):
    reproduce.main(small_reproduction.options("page", "--dry_run", f"--workdir={tmp_path}"))
    assert "page needs no training" in capsys.readouterr().out and not list(tmp_path.iterdir())
