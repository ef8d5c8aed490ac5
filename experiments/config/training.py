"""Every option of training, in this one place; the model's own are in `oddn_jax.config`."""

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
    # Start from the parameters of this run folder or .safetensors file; pictures and slots may be others (`adopt`).
    init_from: str | None = None

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


def model_class(system: str) -> type[VideoModel]:
    """The class that `config.system` names; its module is imported where it is not one of the library's.

    Raises:
        ValueError: there is no such class.
    """
    module, _, name = system.partition(":")
    if name:
        try:
            import_named(module)
        except ValueError as error:
            raise ValueError(f"config.system {system!r}: {error}") from None
    return find_model(system)


def import_named(module: str) -> None:
    """Imports a module of the user's.

    Raises:
        ValueError: it is not there, or raises an error of its own.
    """
    try:
        importlib.import_module(module)
    except Exception as error:
        raise ValueError(f"{module} cannot be imported: {type(error).__name__}: {error}") from error


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
