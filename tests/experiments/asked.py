"""Questions written by hand, as arrays."""

import numpy as np

from experiments.vqa.questions import QUESTION_TYPES, Questions
from oddn_jax.reasoning import vocabulary


def make_questions(*rows: tuple) -> Questions:
    """Rows of (scene, id, type or subtype, text, answer); of multiple choice it is [(id, text, correct), ...]."""
    columns = [[] for _ in Questions._fields]
    for scene, number, family, text, answer in rows:
        type_name = family if family in QUESTION_TYPES else "descriptive"
        choice_id, choice_words, is_correct = np.full(4, -1), np.zeros((4, 12), int), np.full(4, -1)
        answer_id = vocabulary.encode_answer(answer) if isinstance(answer, str) else -1
        for place, (own_id, choice, correct) in enumerate([] if isinstance(answer, str) else answer):
            choice_id[place], is_correct[place] = own_id, correct
            choice_words[place] = vocabulary.encode_choice(choice)
        words = vocabulary.encode_question(text)
        values = (
            scene,
            number,
            QUESTION_TYPES.index(type_name),
            family,
            words,
            answer_id,
            choice_id,
            choice_words,
            is_correct,
        )
        for column, value in zip(columns, values):
            column.append(value)
    arrays = map(np.array, columns)
    return Questions(*(array.astype(np.int32) if array.dtype.kind == "i" else array for array in arrays))


CUBE, SPHERE = "The cube and the sphere collide", "The cube and the cylinder collide"
EXAMPLE = make_questions(
    (7, 0, "count", "How many objects enter the scene?", "3"),
    (7, 1, "count", "How many collisions happen?", "1"),
    (7, 2, "query_color", "What color is the last object to enter the scene?", "red"),
    (
        7,
        3,
        "explanatory",
        "Which of the following is responsible for the cube's exit?",
        [(0, CUBE, 1), (1, SPHERE, 0), (2, CUBE, 1)],
    ),
    (7, 4, "predictive", "What will happen next?", [(0, CUBE, 0), (1, SPHERE, 1)]),
    (9, 0, "exist", "Are there any moving cubes?", "yes"),
    (9, 1, "explanatory", "Which of the following is responsible for the cube's exit?", [(5, CUBE, 0)]),
    (
        9,
        2,
        "counterfactual",
        "Without the cube, what will happen?",
        [(3, CUBE, 0), (2, SPHERE, 0), (1, CUBE, 1), (0, SPHERE, 1)],
    ),
)
