"""Which scenes are simulated to show a model something."""

from data_pipelines.simulator import CLEVRER, QUICKSTART, SceneConfig
from experiments.config import DataConfig

SIMULATED_INDEX = 900_000  # of a scene that no data set has by default


def familiar_scenes(data: DataConfig | None) -> SceneConfig:
    """The family of simulated scenes that is most like what a model was trained on."""
    return QUICKSTART if data and data.config.startswith("quickstart") else CLEVRER
