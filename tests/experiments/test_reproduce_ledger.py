"""The paper's tables again: what their files hold already is kept."""

import csv

import numpy as np
import pytest

from experiments import reproduce
from experiments.reproduction import budgets, running, sweep
from tests.experiments import small_reproduction


def interrupted(entry, has_pictures):
    raise KeyboardInterrupt


def test_results_of_another_machine_stay(tmp_path, monkeypatch, capsys):
    """What stands in a CSV file is not made again where its run is not here, unless it was another recipe."""
    measured = []

    def measure(entry, has_pictures):
        measured.append(entry.label)
        if entry.seed == 0:  # as `measure` does, a folder
            entry.stages[-1].folder.mkdir(parents=True, exist_ok=True)
        return small_reproduction.record_of(float(len(measured)))

    monkeypatch.setattr(running, "measure", measure)
    monkeypatch.setattr(sweep, "check_data", lambda plans: None)
    there, here = tmp_path / "there", tmp_path / "here"
    here.mkdir()
    reproduce.main(small_reproduction.options("figure7", f"--workdir={there}"))
    text = (there / "tiny-figure7.csv").read_text()
    (here / "tiny-figure7.csv").write_text(text)
    capsys.readouterr()

    # Nothing to do: the same table, to the byte.
    count = len(measured)
    reproduce.main(small_reproduction.options("figure7", f"--workdir={here}"))
    assert len(measured) == count
    assert "6 results stand in the CSV files and have no run here: kept" in capsys.readouterr().err
    assert (here / "tiny-figure7.csv").read_text() == text
    reproduce.main(
        small_reproduction.options(
            "figure7", f"--workdir={here}", "--seeds=2", "--dry_run", "--timed_steps=0"
        )
    )
    assert "seed 1\n" in (said := capsys.readouterr().out) and "seed_0" not in said
    # A second seed beside it; asked for one again, both stay.
    reproduce.main(small_reproduction.options("figure7", f"--workdir={here}", "--seeds=2"))
    assert [label[-1] for label in measured[count:]] == ["1"] * 6
    text = (here / "tiny-figure7.csv").read_text()
    reproduce.main(small_reproduction.options("figure7", f"--workdir={here}"))
    assert (here / "tiny-figure7.csv").read_text() == text and len(measured) == count + 6
    # Another recipe is another run; so is one that was begun here.
    monkeypatch.setitem(budgets.BUDGETS, "tiny", budgets.BUDGETS["tiny"]._replace(num_predicted=3))
    reproduce.main(small_reproduction.options("figure7", f"--workdir={here}"))
    assert len(measured) == count + 12
    reproduce.main(small_reproduction.options("figure7", f"--workdir={here}"))
    assert len(measured) == count + 18
    # Stopped before anything is scored again: nothing that stood there is gone.
    text = (here / "tiny-figure7.csv").read_text()
    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(running, "measure", interrupted)
        reproduce.main(small_reproduction.options("figure7", f"--workdir={here}"))
    assert (here / "tiny-figure7.csv").read_text() == text
    # A file that is no table's.
    (here / "tiny-figure7.csv").write_text("target\nfigure7\n")
    with pytest.raises(ValueError, match=r"has no column 'budget': .*; delete it, and make the table again$"):
        reproduce.main(small_reproduction.options("figure7", f"--workdir={here}"))
    assert (here / "tiny-figure7.csv").read_text() == "target\nfigure7\n"


def test_a_picture_of_runs_elsewhere_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(
        running,
        "measure",
        lambda entry, _: (
            small_reproduction.record_of(1.0) | {"motion": {"mean": 1.0, "standard_error": None, "n": 4}}
        ),
    )
    monkeypatch.setattr(sweep, "check_data", lambda plans: None)
    picture = {"video": np.zeros((1, 4, 8, 8, 3)), "predicted": np.zeros((1, 2, 8, 8, 3))}
    monkeypatch.setattr(running, "predictions", lambda stage: picture)
    reproduce.main(small_reproduction.options("figure8", f"--workdir={tmp_path}"))
    (tmp_path / "tiny-figure8.png").write_bytes(b"a picture")
    reproduce.main(
        small_reproduction.options("figure8", f"--workdir={tmp_path}")
    )  # all results are the file's
    assert (tmp_path / "tiny-figure8.png").read_bytes() == b"a picture"
    reproduce.main(
        small_reproduction.options("figure8", f"--workdir={tmp_path}", "--seeds=2")
    )  # a run of each system
    assert small_reproduction.picture_size(tmp_path / "tiny-figure8.png")[1] > 100


def test_percent_come_back_as_they_were(tmp_path, monkeypatch):
    """A file holds them times a hundred; means over seeds are of what it holds."""
    values = iter([0.337, 0.29, 0.1, 0.57, 0.861, 0.7, 0.123, 0.999])
    monkeypatch.setattr(running, "measure", lambda entry, _: small_reproduction.record_of(next(values)))
    monkeypatch.setattr(sweep, "check_data", lambda plans: None)
    command = small_reproduction.options("table3", f"--workdir={tmp_path}", "--seeds=2")
    reproduce.main(command)
    text = (tmp_path / "tiny-table3.csv").read_text()
    reproduce.main(command)
    assert (tmp_path / "tiny-table3.csv").read_text() == text


def test_results_of_other_recipes_stay_in_a_copy(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(running, "measure", lambda entry, _: small_reproduction.record_of(1.5))
    monkeypatch.setattr(sweep, "check_data", lambda plans: None)
    command = small_reproduction.options("figure7", f"--workdir={tmp_path}")
    reproduce.main(command)
    reproduce.main(command)
    text = (tmp_path / "tiny-figure7.csv").read_text()
    assert len(list(tmp_path.glob("*.csv"))) == 1  # nothing would be lost
    monkeypatch.setitem(budgets.BUDGETS, "tiny", budgets.BUDGETS["tiny"]._replace(num_predicted=3))
    monkeypatch.setattr(running, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        reproduce.main(command)
    (copy,) = set(tmp_path.glob("*.csv")) - {tmp_path / "tiny-figure7.csv"}
    assert copy.read_text() == text
    assert (
        f"figure7: the CSV file held results of other recipes, which stay in {copy} alone"
        in capsys.readouterr().err
    )


def test_a_damaged_entry_is_one_line_and_stays(tmp_path, monkeypatch):
    measured = []

    def measure(entry, has_pictures):
        measured.append(entry.label)
        return small_reproduction.record_of(1.5)

    monkeypatch.setattr(running, "measure", measure)
    monkeypatch.setattr(sweep, "check_data", lambda plans: None)
    command, path = (
        small_reproduction.options("table3", f"--workdir={tmp_path}"),
        tmp_path / "tiny-table3.csv",
    )
    reproduce.main(command)
    content = path.read_text()
    damages = [("ours", "nan"), ("ours", ""), ("standard_error", "inf"), ("seed", "1000"), ("seed", "-1")]
    for column, value in damages:
        lines = list(csv.DictReader(content.splitlines()))
        lines[0][column] = value
        if not lines[0]["ours"]:
            lines[0]["n"] = ""
        with open(path, "w") as file:
            writer = csv.DictWriter(file, lines[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)
        text = path.read_text()
        with pytest.raises(
            ValueError, match=r"tiny-table3\.csv: entry 1 .*: delete it, and make the table again$"
        ):
            reproduce.main(command)
        assert path.read_text() == text
    # A row that no table has is none of its results.
    path.write_text(content.replace("ODDN-l", "ODDN long"))
    measured.clear()
    reproduce.main(command)
    assert measured == ["ODDN-l, seed 0"]
