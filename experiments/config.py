"""Every option of training, in this one place; the model's own are in `oddn_jax.config`."""

import dataclasses
import importlib
from dataclasses import dataclass, field
from typing import Any

from oddn_jax import ODDNConfig, VideoModel, find_model

# No `from __future__ import annotations` here: ml_collections reads the field types to parse command-line overrides.


@dataclass(kw_only=True)
class DataConfig:
    """Which clips are read, and how."""

    name: str = "clevrer"  # a builder of data_pipelines: clevrer, block_towers, and either one simulated_
    config: str = "64x64"  # the builder's configuration; sets the image size
    data_dir: str = "data"  # where built data sets lie
    stride: int = 4  # source frames from one frame of a clip to the next (Appendix A.2: every fourth)
    clips: str = "random"  # "random": any window; "collision": windows that hold a collision
    valid_split: str = "validation"  # of the bound and the pictures; block towers have "test"
    num_threads: int = 2  # reader threads per process


@dataclass(kw_only=True)
class TrainConfig:
    """One training run.

    Source: Adam, 3e-4, batch 12 and clips that grow to eight frames are the paper's (Appendix A.4); gradient
    clipping is that of the backbone's public code (MichaelKevinKelly/IODINE). The paper gives neither the
    number of steps nor when the clips grow: both are our choice, fitted to its two days on eight GPUs.
    """

    system: str = "ODDN"  # of oddn_jax.MODELS, or "package.module:Class", a VideoModel of your own
    model: Any = field(default_factory=lambda: ODDNConfig.preset("prediction"))
    data: DataConfig = field(default_factory=DataConfig)
    workdir: str = "runs/prediction"
    seed: int = 0  # initial parameters, noise, order of the data
    init_from: str | None = None  # start from the parameters of this run folder or .safetensors file

    # Groups of parameters that start anew instead: "distiller", "relation", "predictor" are the dynamics (our choice).
    fresh: tuple = ()

    # Groups of parameters that stay as they were: "decoder", "refinement", "initial_posterior" leaves the dynamics to
    # learn from slots that no longer move (our choice).
    frozen: tuple = ()

    num_steps: int = 100_000
    batch_size: int = 12  # clips per step, over all devices
    # (until this share of the steps, this many frames per clip), in order; the last share is 1.
    curriculum: tuple = ((0.1, 3), (0.2, 4), (0.3, 5), (0.45, 6), (1.0, 8))
    # (until this share of the steps, pixels averaged into one along each axis), in order; the last is (1.0, 1). Our
    # choice: slots find their objects in coarse pictures first, many times faster (training diary).
    resolutions: tuple = ((1.0, 1),)
    optimizer: str = "adam"  # "adam" or "rmsprop"
    learning_rate: float = 3e-4
    # "constant", "cosine" (falls to 0 at num_steps) or "linear_end" (constant, then falls linearly to 0 over the last
    # third, as SRVP's), all after the warm-up.
    schedule: str = "constant"
    warmup_steps: int = 0  # the rate climbs linearly over these
    gradient_clip: float = 5.0  # largest global norm of the gradient; 0: as it is

    log_every: int = 100  # steps
    eval_every: int = 2_500  # steps; the validation bound chooses the best checkpoint
    save_every: int = 2_500  # steps
    keep_checkpoints: int = 3  # the latest ones; the best by validation is kept besides
    num_valid_clips: int = 192  # clips of the validation bound, a multiple of batch_size
    num_figure_clips: int = 4  # pictures written at a time
    figures_every: int = 10_000  # steps; 0: pictures at the end only


# A run may go on although these differ from when it began. All but num_steps leave what a step computes as it was,
# up to rounding; num_steps stretches the curriculum and the schedule, which is what raising it is meant to do.
RESUMABLE_FIELDS = frozenset(
    "workdir num_steps log_every eval_every save_every keep_checkpoints num_figure_clips "
    "figures_every data.data_dir data.num_threads model.remat model.unroll".split()
)


# Options that older runs do not have, with the value that says what those did.
LATER_OPTIONS = {
    "system": "ODDN",
    "optimizer": "adam",
    "fresh": (),
    "frozen": (),
    "model.share_noise": False,
    "model.distiller_init": "random",
    "model.kernel_gain": 1.0,
    "model.prediction_latents": "sample",
    "resolutions": ((1.0, 1),),
}


def model_class(system: str) -> type[VideoModel]:
    """The class that `config.system` names; its module is imported where it is not one of the library's.

    Raises:
        ValueError: there is no such class.
    """
    module, _, name = system.partition(":")
    if name:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ValueError(f"config.system {system!r} cannot be imported: {error}") from None
    return find_model(system)


def make_model(config: TrainConfig) -> VideoModel:
    """The model of a run."""
    return model_class(config.system)(config.model)


def clip_length(config: TrainConfig, step: int) -> int:
    """Frames per clip at a step, from the curriculum."""
    return _at(config.curriculum, step / config.num_steps)


def coarseness(config: TrainConfig, step: int) -> int:
    """Pixels that are averaged into one along each axis at a step."""
    return _at(config.resolutions, step / config.num_steps)


def _at(pairs: tuple, share: float) -> int:
    return next((value for until, value in pairs if share < until), pairs[-1][1])


def longest_clip(config: TrainConfig) -> int:
    """Frames per clip at the end of the curriculum: the length that validation uses throughout."""
    return config.curriculum[-1][1]


def check(config: TrainConfig, num_devices: int) -> None:
    """Raises ValueError with one line for the first option that cannot work.

    Args:
        num_devices: devices that share a batch, over all processes.
    """
    wanted = model_class(config.system).Config
    if not isinstance(config.model, wanted):
        raise ValueError(
            f"config.model is a {type(config.model).__name__}, {config.system} wants a {wanted.__name__}"
        )
    if hasattr(config.model, "validate"):
        try:
            config.model.validate()
        except ValueError as error:
            raise ValueError(f"config.model.{error}") from None
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
    if config.data.clips not in ("random", "collision"):
        raise ValueError(f'config.data.clips {config.data.clips!r} is unknown: take "random" or "collision"')


def _check_curriculum(config: TrainConfig) -> None:
    for name, what, example in (
        ("curriculum", "frames", "((1.0, 8),)"),
        ("resolutions", "coarseness", "((1.0, 1),)"),
    ):
        pairs = getattr(config, name)
        if not pairs or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
            raise ValueError(
                f"config.{name} {pairs} is no tuple of (share of the steps, {what}) pairs: {example}"
            )
        shares = [share for share, _ in pairs]
        if shares != sorted(set(shares)) or shares[0] <= 0 or shares[-1] != 1:
            raise ValueError(
                f"config.{name} {pairs}: the shares of the steps must rise from above 0 to exactly 1"
            )
    for _, frames in config.curriculum:
        if not isinstance(frames, int) or frames < 3:
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


def to_json(config: TrainConfig) -> dict:
    """The config as nested dictionaries that `json` can write."""
    return dataclasses.asdict(config)


def from_json(values: dict) -> TrainConfig:
    """The inverse of `to_json`. Raises ValueError on a field or a system that this version does not know."""
    system = values.get("system", "ODDN")
    return _build(TrainConfig, values, "config", model=model_class(system).Config)


def _build(record: type, values: dict, path: str, **known_types: type):
    types = {entry.name: entry.type for entry in dataclasses.fields(record)} | known_types
    unknown = sorted(set(values) - set(types))
    if unknown:
        raise ValueError(f"{path}.{unknown[0]} is not an option of this version")
    return record(**{name: _convert(types[name], value, f"{path}.{name}") for name, value in values.items()})


def _convert(kind: type, value, path: str):
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, path)
    return _tuples(value) if isinstance(value, list) else value


def _tuples(value):
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value


def flatten(config, prefix: str = "") -> dict:
    """Option names with dots ("model.num_slots") and their values."""
    flat = {}
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if dataclasses.is_dataclass(value):
            flat |= flatten(value, f"{prefix}{entry.name}.")
        else:
            flat[prefix + entry.name] = value
    return flat
