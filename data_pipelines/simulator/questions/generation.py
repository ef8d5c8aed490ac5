"""Questions about a simulated video in CLEVRER's schema, with programs and answers.

Each answer is what the program gives when it is executed on the truth of the scene. Which of the possible questions are
asked is chosen so that, over a data set, answers come as often as wanted and seldom follow from the question's form.
"""

from collections.abc import Iterable

import numpy as np

from data_pipelines.simulator.config import video_seed
from data_pipelines.simulator.questions.balance import Balance
from data_pipelines.simulator.questions.choices import (
    counterfactual_questions,
    explanatory_questions,
    predictive_questions,
)
from data_pipelines.simulator.questions.descriptive import descriptive_questions
from data_pipelines.simulator.questions.truth import SceneTruth

QUESTION_STREAM = 1_000_000  # apart from the numbers of the tries that sample a scene


def question_scenes(truths: Iterable[tuple[int, SceneTruth]], seed: int) -> list[dict]:
    """The content of a question file, from the index and the truth of each scene.

    The questions of a scene depend on the scenes before it, not on those after it.
    """
    balance = Balance()
    return [
        {
            "scene_index": index,
            "video_filename": f"video_{index:05d}.mp4",
            "questions": scene_questions(
                truth, balance, np.random.default_rng([video_seed(seed, index), QUESTION_STREAM])
            ),
        }
        for index, truth in truths
    ]


def scene_questions(truth: SceneTruth, balance: Balance, generator: np.random.Generator) -> list[dict]:
    """The questions of one video: about 11 descriptive, 2 explanatory, 1 predictive and 2 counterfactual ones.

    A scene in which little happens gets fewer.

    Args:
        truth: of the scene.
        balance: of the questions of earlier videos; these are added.
        generator: makes the random choices.
    """
    questions = [
        *descriptive_questions(truth, balance, generator),
        *explanatory_questions(truth, balance, generator),
        *predictive_questions(truth, generator),
        *counterfactual_questions(truth, balance, generator),
    ]
    return [{"question_id": number, **question} for number, question in enumerate(questions)]
