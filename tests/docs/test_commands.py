"""Every command of the pages is one that its program accepts, and every option that they name is there."""

import dataclasses
import re

import pytest

from experiments.config import DataConfig, TrainConfig, VQAConfig, flatten
from oddn_jax import MODELS
from tests.docs import pages, programs
from tests.docs.pages import PAGES

# Of other programs: pytest, pip, srun, tensorboard, mkdocs.
THEIRS = {"--dist", "--no-loadscope-reorder", "--signal"}  # of pytest and sbatch


@pytest.mark.parametrize("page", PAGES, ids=pages.name)
def test_commands_are_accepted(page, own_files):
    for words in pages.commands(page.read_text()):
        programs.accept(words)


REFUSED = [
    "python -m experiments.clevrer_pretrain --config.num_stepz=3",
    "python -m experiments.clevrer_pretrain --config=experiments/configs/clevrer.py:no_such",
    "python -m experiments.clevrer_pretrain --config.batch_size=5",
    "python -m experiments.seeds --num_seed=3",
    "python -m experiments.evaluate --rum=runs/quickstart",
    "python -m experiments.evaluate --clips=none",
    "python -m experiments.reproduce table9",
    "python -m experiments.nothing",
    "python -m data_pipelines.build clevrer/65x64 --data_dir=data",
    "python -m data_pipelines.build simulated_clevrer --num_trian=3",
    "python -m data_pipelines.simulator clevrer --num_videos=3",
    "python -m pytest tests/oddn_jax/test_nothing.py",
    'pip install -e ".[trian]"',
    "python program.py",
    "cp a b",
]


@pytest.mark.parametrize("command", REFUSED)
def test_a_wrong_command_is_noticed(command):
    (words,) = pages.commands(f"```bash\n{command}\n```\n")
    with pytest.raises(programs.Unknown):
        programs.accept(words)


def test_commands_are_found():
    text = (
        "`python -m a --b` and `python` alone\n\n    python -m c\n\nx\n"
        "```bash\nA=1 python -m d \\\n    --e  # f\npip g && .venv/bin/python -m h\n```\n```\na/ b\npython -m i\n```\n"
        "```text\npython -m j\n```\n"
    )
    joined = [" ".join(words) for words in pages.commands(text)]
    assert joined == [
        "A=1 python -m d --e",
        "pip g",
        "python -m h",
        "python -m i",
        "python -m c",
        "python -m a --b",
    ]
    assert sum(len(pages.commands(page.read_text())) for page in PAGES) > 60


def known_config_options() -> set[str]:
    """Every option as "config.model.num_slots", of any model; and the groups of options themselves."""
    models = [flatten(model.Config(), "model.") for model in MODELS.values()]
    names = set().union(flatten(TrainConfig()), flatten(VQAConfig()), *models, {"model", "data"})
    return {f"config.{name}" for name in names}


def unknown_options(text: str, options: set[str], config_options: set[str]) -> list[str]:
    """The options that a text names in backquotes and that no program has."""
    spans = [span for span in pages.spans(text) if not re.match(r"mkdocs|pip |XLA_FLAGS=--|--xla", span)]
    of_programs = [name for span in spans for name in re.findall(r"(?<![\w-])--[a-z][\w-]*(?![\w.])", span)]
    of_configs = [name for span in spans for name in re.findall(r"(?<![\w./])config\.[a-z_][\w.]*", span)]
    of_configs = [name for name in of_configs if name not in ("config.json", "config.py")]
    wrong = [name for name in of_programs if name not in options | THEIRS]
    return wrong + [name for name in of_configs if name not in config_options]


@pytest.fixture(scope="module")
def options() -> set[str]:
    return programs.options()


@pytest.mark.parametrize("page", PAGES, ids=pages.name)
def test_options_are_there(page, options):
    assert not unknown_options(page.read_text(), options, known_config_options())


def test_a_missing_option_is_noticed(options):
    text = "`--workdir` `--run=X` `--config.model.kl_weight=3` `config.frozen` `--num_train` `--lpips`\n"
    assert not unknown_options(text, options, known_config_options())
    text += "`--wrokdir` `figures --colision` `--config.model.kl_weigth=3` `config.frosen`"
    assert unknown_options(text, options, known_config_options()) == [
        "--wrokdir",
        "--colision",
        "config.model.kl_weigth",
        "config.frosen",
    ]


def test_options_of_every_kind_of_program_are_known(options):
    assert {
        "--config",
        "--num_seeds",
        "--heartbeat_timeout",
        "--budget",
        "--raw_dir",
        "--first_index",
    } <= options
    assert {field.name for field in dataclasses.fields(DataConfig)} == {
        name.removeprefix("config.data.")
        for name in known_config_options()
        if name.startswith("config.data.")
    }
