"""Every option of the programs that train, which values can work, and how config.json holds them."""

from experiments.config.checks import check, check_data
from experiments.config.questions import VQAConfig
from experiments.config.records import (
    LATER_OPTIONS,
    build,
    check_types,
    expand_folders,
    flatten,
    from_json,
    to_json,
)
from experiments.config.training import (
    RESUMABLE_FIELDS,
    DataConfig,
    TrainConfig,
    clip_length,
    coarseness,
    import_named,
    longest_clip,
    make_model,
    model_class,
)

__all__ = [
    "LATER_OPTIONS",
    "RESUMABLE_FIELDS",
    "DataConfig",
    "TrainConfig",
    "VQAConfig",
    "build",
    "check",
    "check_data",
    "check_types",
    "clip_length",
    "coarseness",
    "expand_folders",
    "flatten",
    "from_json",
    "import_named",
    "longest_clip",
    "make_model",
    "model_class",
    "to_json",
]
