"""What is true of the scenes that simulated questions are about."""

from data_pipelines.builders.simulated_clevrer.simulated_clevrer_dataset_builder import SCENES
from data_pipelines.simulator.config import video_seed
from data_pipelines.simulator.questions.files import simulate_truth
from data_pipelines.simulator.questions.truth import SceneTruth


def scene_truth(scenes: str, seed: int, index: int) -> SceneTruth | None:
    """The truth of one video of simulated_clevrer; None where that has no such video.

    Args:
        scenes: a name of `SCENES`.
        seed: of the data set.
        index: of the scene.
    """
    try:
        return simulate_truth(SCENES[scenes], video_seed(seed, index))
    except ValueError:  # no scene of this seed is worth keeping
        return None
