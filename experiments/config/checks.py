"""Which values of the options can work."""

import jax

from data_pipelines.seeds import check_seed
from experiments.config.records import check_types
from experiments.config.training import DataConfig, TrainConfig, make_model, model_class

MOST_STEPS = 2**31 - 1  # JAX counts them in int32
MOST_THREADS = 1_000  # each has a stack and clips in memory; our choice


def check(config: TrainConfig, num_devices: int) -> None:
    """Raises ValueError with one line for the first option that cannot work.

    Args:
        num_devices: devices that share a batch, over all processes.
    """
    check_seed("config.seed", config.seed)
    check_types(config)
    wanted = model_class(config.system).Config
    if not isinstance(config.model, wanted):
        raise ValueError(
            f"config.model is a {type(config.model).__name__}, {config.system} wants a {wanted.__name__}"
        )
    if getattr(config.model, "compute_dtype", None) == "float64" and not jax.config.jax_enable_x64:
        raise ValueError("config.model.compute_dtype float64 needs the environment variable JAX_ENABLE_X64=1")
    if hasattr(config.model, "validate"):
        try:
            config.model.validate()
        except ValueError as error:
            raise ValueError(f"config.model.{error}") from None
    if config.num_steps > MOST_STEPS:
        raise ValueError(f"config.num_steps is {config.num_steps}: it must be at most {MOST_STEPS}")
    check_data(config.data)
    positive = "num_steps batch_size learning_rate keep_checkpoints num_valid_clips num_figure_clips"
    for name in (*positive.split(), "log_every", "eval_every", "save_every"):
        if not getattr(config, name) > 0:
            raise ValueError(f"config.{name} is {getattr(config, name)}: it must be above 0")
    if config.figures_every < 0:
        raise ValueError(f"config.figures_every is {config.figures_every}: it must be 0 (never) or above")
    if not config.gradient_clip >= 0:
        raise ValueError(
            f"config.gradient_clip is {config.gradient_clip}: it must be 0 (no clipping) or above"
        )
    _check_curriculum(config)
    if config.batch_size % num_devices:
        raise ValueError(
            f"config.batch_size {config.batch_size} cannot be shared equally by {num_devices} devices: "
            f"take a multiple of {num_devices}"
        )
    if config.num_valid_clips % config.batch_size:
        raise ValueError(
            f"config.num_valid_clips {config.num_valid_clips} is no multiple of config.batch_size {config.batch_size}"
        )
    choices = {"optimizer": ("adam", "rmsprop"), "schedule": ("constant", "cosine", "linear_end")}
    for name, known in choices.items():
        if getattr(config, name) not in known:
            raise ValueError(
                f"config.{name} {getattr(config, name)!r} is unknown: take one of {', '.join(known)}"
            )
    if not 0 <= config.warmup_steps <= config.num_steps:
        raise ValueError(
            f"config.warmup_steps {config.warmup_steps} must lie in 0 to config.num_steps {config.num_steps}"
        )


def check_data(data: DataConfig) -> None:
    """Raises ValueError with one line for the first option of the data that cannot work."""
    if data.num_threads > MOST_THREADS:
        raise ValueError(f"config.data.num_threads is {data.num_threads}: it must be at most {MOST_THREADS}")
    for name in ("stride", "num_threads"):
        if not getattr(data, name) > 0:
            raise ValueError(f"config.data.{name} is {getattr(data, name)}: it must be above 0")
    if data.clips not in ("random", "collision"):
        raise ValueError(f'config.data.clips {data.clips!r} is unknown: take "random" or "collision"')


def _check_curriculum(config: TrainConfig) -> None:
    for name, what, example in (
        ("curriculum", "frames", "((1.0, 8),)"),
        ("resolutions", "coarseness", "((1.0, 1),)"),
    ):
        pairs = getattr(config, name)
        if not pairs or not all(
            isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], (int, float)) for pair in pairs
        ):
            raise ValueError(
                f"config.{name} {pairs} is no tuple of (share of the steps, {what}) pairs: {example}"
            )
        shares = [share for share, _ in pairs]
        if shares != sorted(set(shares)) or shares[0] <= 0 or shares[-1] != 1:
            raise ValueError(
                f"config.{name} {pairs}: the shares of the steps must rise from above 0 to exactly 1"
            )
    for _, frames in config.curriculum:
        if not isinstance(frames, int):
            raise ValueError(f"config.curriculum {config.curriculum}: {frames!r} is no number of frames")
        if frames < 3:
            raise ValueError(
                f"config.curriculum {config.curriculum}: {frames} frames are too few, two are observed and one "
                "predicted, take 3"
            )
    if config.resolutions[-1][1] != 1:
        raise ValueError(
            f"config.resolutions {config.resolutions}: the last must be (1.0, 1), the whole picture"
        )
    for _, factor in config.resolutions:
        if not isinstance(factor, int) or factor < 1:
            raise ValueError(
                f"config.resolutions {config.resolutions}: {factor} is no number of pixels to average into one"
            )
        if factor > 1:
            try:
                make_model(config).coarser(factor)
            except ValueError as error:
                raise ValueError(f"config.resolutions {config.resolutions}: {error}") from None
