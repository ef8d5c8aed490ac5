"""How much each system is trained: the same steps, batch, clips and seeds for all, each with its own optimiser."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from experiments.config import TrainConfig, VQAConfig, longest_clip
from experiments.configs import baselines, clevrer_vqa
from experiments.reproduction.targets import Row, Target
from experiments.runs import run_folder


class Budget(NamedTuple):
    """What is spent on each run."""

    num_seeds: int
    is_small: bool  # models of two CPU cores on simulated scenes; otherwise the published ones
    training: Mapping[str, Any] = MappingProxyType({})  # options of TrainConfig
    answering: Mapping[str, Any] = MappingProxyType({})  # options of VQAConfig
    scenes: str = ""  # a config of simulated_clevrer to train on; empty: the systems' own
    num_predicted: int | None = None  # frames in Figure 7; None: the models' six


# Where things lie: the same run elsewhere gives the same numbers.
PLACES = frozenset("workdir init_from data.data_dir data_dir features_dir features_of".split())


class Stage(NamedTuple):
    """A run folder, and what is trained there."""

    folder: pathlib.Path
    config: TrainConfig | VQAConfig


class Entry(NamedTuple):
    """A number of a table: a system and a seed. Its last run is the one to score."""

    row: str
    seed: int
    stages: tuple[Stage, ...]
    by_programs: bool = False  # the last stage answers by programs
    num_predicted: int | None = None  # frames to predict where it is scored; None: the model's own number

    @property
    def label(self) -> str:
        """What it is called, as `--only` takes it."""
        return f"{self.row}, seed {self.seed}"

    @property
    def recipe(self) -> str:
        """Twelve hexadecimal digits for all that its numbers hang on but the code and the machine."""
        configs = [run_folder.fingerprint(stage.config, PLACES) for stage in self.stages]
        return hashlib.sha256(repr((configs, self.by_programs, self.num_predicted)).encode()).hexdigest()[:12]


BUDGETS = {
    # Shows that everything runs.
    "tiny": Budget(
        1,
        True,
        dict(
            num_steps=100,
            warmup_steps=10,
            log_every=10,
            eval_every=100,
            save_every=20,
        ),
        dict(num_steps=100, log_every=10, eval_every=100, save_every=20),
    ),
    # The quickstart's training, then clips that grow, so that ODDN-l is not ODDN: 44,000 pictures a run, where the
    # quickstart has 18,000 (docs/tables_again.md).
    "small": Budget(
        3,
        True,
        dict(
            num_steps=5000,
            curriculum=((0.6, 3), (0.8, 5), (1.0, 8)),
            log_every=100,
            eval_every=1000,
            save_every=500,
        ),
        scenes="quickstart_long",
        num_predicted=12,
    ),
    "full": Budget(3, False, num_predicted=12),
}
# Of ODDN's recipe for all systems; optimiser, learning rate and schedule are each one's own.
EQUAL = ("num_steps", "batch_size", "curriculum", "num_valid_clips")
# Models that see the whole frame, for questions; the quickstart's see it anyway.
WHOLE_FRAME = {"image_width": 96, "latent_size": 16}
SMALL_LATENTS = 2  # of the paper's latents where the small models have one: 8 for 16, and so 10 for 20


def plan(
    target: Target,
    budget: Budget,
    folder: pathlib.Path,
    num_seeds: int,
    data: str | None = None,
    data_dir: str = "data",
) -> list[Entry]:
    """All runs of a table, row by row; rows that share a model share its folder.

    Args:
        folder: of the budget; the runs of all tables lie below it.
        data: NAME/CONFIG to train on, instead of the budget's own.
    """
    entries = []
    for row in target.rows:
        for seed in range(num_seeds if row.variant else 0):
            config = video_config(row, target, budget, seed, data, data_dir)
            stages = video_stages(row, config, budget, folder)
            if row.features:
                stages += (answering_stage(row, config, budget, stages[-1].folder),)
            num_predicted = budget.num_predicted if target.is_long else None
            entries.append(Entry(row.name, seed, stages, row.by_programs, num_predicted))
    if "blind" in target.references:
        for seed in range(num_seeds):
            blind = answering_config(budget, config.data.name, data_dir, seed)
            blind = dataclasses.replace(blind, features="blind", references=("majority", "executor"))
            entries.append(Entry("blind", seed, (Stage(folder / "blind" / f"seed_{seed}", blind),)))
    return entries


def select(plans: Mapping[str, list[Entry]], label: str) -> dict[str, list[Entry]]:
    """The one run that is called so, of each table that has it.

    Raises:
        ValueError: none has it.
    """
    chosen = {name: [entry for entry in entries if entry.label == label] for name, entries in plans.items()}
    if not any(chosen.values()):
        labels = dict.fromkeys(entry.label for entries in plans.values() for entry in entries)
        raise ValueError(f"--only={label!r} is no run of this table; there are {'; '.join(labels)}")
    return {name: entries for name, entries in chosen.items() if entries}


def video_config(
    row: Row, target: Target, budget: Budget, seed: int, data: str | None, data_dir: str
) -> TrainConfig:
    """What a row's model is trained with, in its first stage."""
    size = ",quickstart" if budget.is_small else ""
    config, reference = (baselines.get_config(variant + size) for variant in (row.variant, "oddn"))
    equal = {name: getattr(reference, name) for name in EQUAL}
    changes = model_changes(row, budget)
    if budget.scenes and target.scenes != "towers":
        config.data.config = budget.scenes
    if target.scenes == "reasoning" and not budget.is_small:
        changes = {
            name: value for name, value in WHOLE_FRAME.items() if hasattr(config.model, name)
        } | changes
        config.data.config = "64x96"
    if target.scenes == "towers":
        # Source of the stride: our choice, as configs/block_towers.py.
        towers = {"name": config.data.name.replace("clevrer", "block_towers"), "valid_split": "test"}
        config.data = dataclasses.replace(config.data, **towers, stride=4 if budget.is_small else 2)
    if data is not None:
        config.data.name, _, config.data.config = data.partition("/")
    config.data.data_dir = data_dir
    model = dataclasses.replace(config.model, **changes)
    return dataclasses.replace(config, model=model, seed=seed, figures_every=0, **equal | budget.training)


def model_changes(row: Row, budget: Budget) -> dict[str, Any]:
    """What a row changes of its system's options, in the sizes of the budget."""
    changes = dict(row.model)
    if budget.is_small and "latent_size" in changes:
        changes["latent_size"] //= SMALL_LATENTS
    return changes


def video_stages(row: Row, config: TrainConfig, budget: Budget, folder: pathlib.Path) -> tuple[Stage, ...]:
    """The runs of a model: one, or with the published sizes the paper's two, the second on clips with collisions."""
    changes = model_changes(row, budget)
    label = "-".join([row.variant, *(f"{name}_{value}" for name, value in changes.items())])
    folder = folder / f"{config.data.name}-{config.data.config}" / label / f"seed_{config.seed}"
    if budget.is_small or "block_towers" in config.data.name:
        return (Stage(folder, dataclasses.replace(config, workdir=str(folder))),)
    first, second = folder / "pretraining", folder / "collisions"
    finetuning = dataclasses.replace(
        config,
        workdir=str(second),
        init_from=str(first),
        data=dataclasses.replace(config.data, clips="collision"),
        curriculum=((1.0, longest_clip(config)),),
        num_steps=6 * config.num_steps // 10,  # as configs/clevrer_collision.py
    )
    return (
        Stage(first, dataclasses.replace(config, workdir=str(first))),
        Stage(second, finetuning),
    )


def answering_stage(row: Row, config: TrainConfig, budget: Budget, folder: pathlib.Path) -> Stage:
    """The reasoner on the features of a model; it lies in the model's folder, whose parameters it was trained with."""
    reasoner = answering_config(budget, config.data.name, config.data.data_dir, config.seed)
    reasoner = dataclasses.replace(
        reasoner,
        features=row.features,
        features_of=str(folder),
        references=(),
        model=dataclasses.replace(reasoner.model, predict_hidden_slots=row.hidden_slots),
    )
    name = f"answers-{row.features}{'-hidden_slots' * row.hidden_slots}{'-programs' * row.by_programs}"
    return Stage(folder / name, reasoner)


def answering_config(budget: Budget, data_name: str, data_dir: str, seed: int) -> VQAConfig:
    """What a reasoner is trained with, about real videos or simulated ones as its model is."""
    real_size = "clevrer,simulated" if data_name.startswith("simulated") else "clevrer"
    config = clevrer_vqa.get_config("quickstart" if budget.is_small else real_size)
    return dataclasses.replace(config, data_dir=data_dir, seed=seed, **budget.answering)
