"""CLEVRER's question file of one split, and the truth from which its answers come.

The truth of each scene is a file of its own, so that an interrupted run goes on; the questions, which balance each
other's answers, are then chosen in one go.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from data_pipelines.json_files import read_json
from data_pipelines.seeds import check_seed
from data_pipelines.simulator.config import SceneConfig, video_seed
from data_pipelines.simulator.physics import simulate
from data_pipelines.simulator.questions.generation import question_scenes
from data_pipelines.simulator.questions.truth import SceneTruth, read_truth, trajectory_truth, write_truth
from data_pipelines.simulator.videos import generate_scene
from data_pipelines.whole_files import whole_file

CARD = "simulator.json"


@dataclasses.dataclass(frozen=True)
class TruthWriter:
    """Writes the truth of one split's scenes below `root`, the folder of the questions.

    Raises:
        ValueError: the seed is out of range.
    """

    root: Path
    split: str
    config: SceneConfig
    seed: int

    def __post_init__(self):
        check_seed("seed", self.seed)

    def is_finished(self, index: int) -> bool:
        return truth_file(self.root, self.split, index).exists()

    def write(self, index: int) -> int:
        """Simulates a scene, and once more without each of its objects; returns the bytes on disk."""
        path = truth_file(self.root, self.split, index)
        with whole_file(path) as partial:
            write_truth(partial, simulate_truth(self.config, video_seed(self.seed, index)))
        return path.stat().st_size

    def record(self, index: int, size: int) -> int:
        return size


def truth_file(questions_dir: Path, split: str, index: int) -> Path:
    """Where the truth of a scene lies."""
    low = index // 1000 * 1000
    return questions_dir / "truth" / split / f"truth_{low:05d}-{low + 1000:05d}" / f"truth_{index:05d}.json"


def simulate_truth(config: SceneConfig, seed: int) -> SceneTruth:
    """What is known of the scene of a seed, with what would happen without each of its objects.

    Raises:
        ValueError: there is no acceptable scene of this seed.
    """
    scene, trajectory = generate_scene(config, seed)
    video = [collision for collision in trajectory.collisions if collision.frame_id < config.num_frames]
    touched = {i for collision in video for i in collision.object_ids}
    # Without an object that touches nothing, the others move as they do, to the bit (see physics.build_model).
    without = [
        simulate(scene, config.num_frames, drop=thing.object_id) if thing.object_id in touched else trajectory
        for thing in scene.objects
    ]
    return trajectory_truth(scene.objects, trajectory, without, config.num_frames)


def check_videos(root: Path, config: dict, seed: int) -> None:
    """Raises ValueError if the videos below `root` are of other scenes than the questions would be."""
    path = root / CARD
    if not path.exists():
        return
    try:
        card = read_json(path)
        same = card["config"] == config and card["options"]["seed"] == seed
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path} is not a card of this simulator: choose another --output") from None
    if not same:
        raise ValueError(
            f"the videos in {root} are of other scenes: repeat their --scenes and --seed, see {path}"
        )


def write_questions(writer: TruthWriter, indices: Sequence[int]) -> int:
    """Writes the question file of the split from the truths of its scenes; returns the number of questions.

    As in CLEVRER, the test split tells neither programs nor answers.

    Raises:
        ValueError: a truth cannot be read.
    """
    truths = ((index, read_truth(truth_file(writer.root, writer.split, index))) for index in indices)
    scenes = question_scenes(truths, writer.seed)
    if writer.split == "test":
        scenes = [_without_answers(scene) for scene in scenes]
    with whole_file(writer.root / f"{writer.split}.json") as partial:
        partial.write_text(json.dumps(scenes) + "\n")
    return sum(len(scene["questions"]) for scene in scenes)


def _without_answers(scene: dict) -> dict:
    def asked(entry: dict) -> dict:
        kept = {key: value for key, value in entry.items() if key not in ("program", "answer", "choices")}
        return kept | {key: [asked(choice) for choice in entry[key]] for key in ("choices",) if key in entry}

    return scene | {"questions": [asked(question) for question in scene["questions"]]}
