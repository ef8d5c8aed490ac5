"""`~` in a path is the home folder wherever it is written, and nobody but us decides it."""

from pathlib import Path

import pytest

from data_pipelines import build, loaders
from data_pipelines.datasets import built_splits
from data_pipelines.home import expand_arguments, expand_home

SMALL = ["--num_train=1", "--num_validation=1", "--jobs=1"]


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A home folder that is not where the programs are started."""
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


def test_home_is_written_out_in_arguments(home):
    arguments = [
        "clevrer",
        "~/a",
        "--data_dir=~/data",
        "--config=~/c.py:small",
        "-x=~",
        "--text=a~b",
        "b~",
        "--json",
    ]
    assert expand_arguments(arguments) == [
        "clevrer",
        f"{home}/a",
        f"--data_dir={home}/data",
        f"--config={home}/c.py:small",
        f"-x={home}",
        "--text=a~b",
        "b~",
        "--json",
    ]
    assert expand_home("./~/data") == "./~/data"


@pytest.mark.parametrize("argument", ["--run=", "-x=", "--config=", ""])
def test_an_empty_argument_is_refused(argument):
    with pytest.raises(ValueError, match=f"^{argument or repr(argument)} is empty"):
        expand_arguments(["--json", argument])
    assert expand_arguments(["--config.features_dir=", "--text=a="]) == [
        "--config.features_dir=",
        "--text=a=",
    ]


def test_a_home_that_is_not_there_is_one_line(home, monkeypatch, capsys):
    with pytest.raises(
        ValueError, match=r"~nobody_at_all/x: there is no home folder ~nobody_at_all; write \./~nobody"
    ):
        expand_home("~nobody_at_all/x")
    assert build.main(["simulated_clevrer_qa", "--data_dir=~nobody_at_all/x", *SMALL]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("written", ["~/data", "./~/data"])
def test_data_are_read_from_where_they_were_built(home, written, capsys):
    """TFDS takes `~` for the home folder when it reads, not when it writes; `./~` is a folder of that name."""
    assert build.main(["simulated_clevrer", f"--data_dir={written}", *SMALL, "--height=8", "--width=8"]) == 0
    folder = home if written == "~/data" else Path("~")
    assert [path.name for path in (folder / "data").iterdir()] == ["simulated_clevrer"]
    assert Path("~").exists() == (written != "~/data")
    config = build.make_config("simulated_clevrer", num_train=1, num_validation=1, height=8, width=8)
    path = build.dataset_path("simulated_clevrer", config.name, written)
    assert built_splits(path) == ("train", "validation")
    options = dict(num_frames=2, stride=4, batch_size=1)
    (batch,) = loaders.evaluation_batches(path, "validation", **options)
    assert batch["video"].shape == (1, 2, 8, 8, 3)


def test_the_functions_know_home_too(home):
    config = build.make_config("simulated_clevrer_qa", num_train=1, num_validation=1)
    summary = build.build("simulated_clevrer_qa", config, "~/data", jobs=1, progress=False)
    assert summary.path.is_relative_to(home) and not Path("~").exists()
