"""Which values of a reasoner's options can work, and reading them from config.json."""

from data_pipelines.seeds import check_seed
from experiments.config import VQAConfig, build, check_types

# A run may go on although these differ: they change neither what is learned nor from what, but how long.
RESUMABLE_FIELDS = frozenset(
    "workdir data_dir features_dir num_steps log_every eval_every save_every keep_checkpoints num_valid_questions "
    "references submission_split model.recompute".split()
)
FEATURES = ("both", "latents", "dynamics", "truth", "blind")


def check(config: VQAConfig) -> None:
    """Raises ValueError with one line for the first option that cannot work."""
    check_seed("config.seed", config.seed)
    check_types(config)
    try:
        config.model.validate()
    except ValueError as error:
        raise ValueError(f"config.model.{error}") from None
    if config.features not in FEATURES:
        raise ValueError(f"config.features {config.features!r} is unknown: take one of {', '.join(FEATURES)}")
    if config.choices_per_question < 0:
        raise ValueError(
            f"config.choices_per_question is {config.choices_per_question}: it must be at least 0, for all"
        )
    if config.optimizer not in ("adam", "muon"):
        raise ValueError(f"config.optimizer {config.optimizer!r} is unknown: take one of adam, muon")
    for name in config.references:
        if name not in ("blind", "majority", "executor"):
            raise ValueError(
                f"config.references: {name!r} is unknown: take some of blind, majority, executor"
            )
    positive = "num_frames num_steps batch_size learning_rate keep_checkpoints num_valid_questions"
    for name in (*positive.split(), "log_every", "eval_every", "save_every"):
        if not getattr(config, name) > 0:
            raise ValueError(f"config.{name} is {getattr(config, name)}: it must be above 0")
    for name in ("frame_stride", "rollout_frames"):
        if getattr(config, name) < 0:
            raise ValueError(f"config.{name} is {getattr(config, name)}: it must be at least 0")
    if config.rollout_frames and config.features not in ("both", "latents", "dynamics"):
        raise ValueError(
            f"config.rollout_frames is {config.rollout_frames}: config.features {config.features!r} are no slots "
            "that a model rolls out"
        )
    if not 0 <= config.warmup_share <= 1:
        raise ValueError(f"config.warmup_share {config.warmup_share} must lie in 0 to 1")
    for name in ("videos", "questions"):
        value = getattr(config, name)
        if value.count("/") != 1:
            raise ValueError(f"config.{name} {value!r} is no NAME/CONFIG of a data set")


def from_json(values: dict) -> VQAConfig:
    """The inverse of `experiments.config.to_json`. Raises ValueError as that of a TrainConfig."""
    return build(VQAConfig, values)
