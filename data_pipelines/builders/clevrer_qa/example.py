"""One question as a record: its texts, their words as numbers, and its answer."""

from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from data_pipelines.builders.clevrer_qa.raw import (
    CHOICE_ANSWERS,
    MAX_CHOICES,
    QUESTION_TYPES,
    Question,
    QuestionScene,
)
from data_pipelines.builders.clevrer_qa.vocabulary import CHOICE_LENGTH, QUESTION_LENGTH, answer_id, word_ids

UNKNOWN = -1


def question_features() -> tfds.features.FeaturesDict:
    """Features of one question; words are numbered as in `vocabulary`, 0 is padding, -1 is unknown or not there."""
    return tfds.features.FeaturesDict(
        {
            "scene_index": tfds.features.Scalar(np.int32),
            "video_filename": tfds.features.Text(),
            "question_id": tfds.features.Scalar(np.int32),
            "question_type": tfds.features.ClassLabel(names=QUESTION_TYPES),
            "question_subtype": tfds.features.Text(),  # empty where there is none
            "question": tfds.features.Text(),
            "question_words": tfds.features.Tensor(shape=(QUESTION_LENGTH,), dtype=np.int32),
            "program": tfds.features.Text(),  # words with spaces between; empty in the test split
            "answer": tfds.features.Text(),  # empty for multiple choice and in the test split
            "answer_id": tfds.features.Scalar(np.int32),  # 1..21
            "choices": tfds.features.Sequence(
                {
                    "choice_id": tfds.features.Scalar(np.int32),
                    "choice": tfds.features.Text(),
                    "program": tfds.features.Text(),
                }
            ),
            "num_choices": tfds.features.Scalar(np.int32),  # 0 of a descriptive question
            "choice_words": tfds.features.Tensor(shape=(MAX_CHOICES, CHOICE_LENGTH), dtype=np.int32),
            "choice_is_correct": tfds.features.Tensor(shape=(MAX_CHOICES,), dtype=np.int32),  # 0, 1
        }
    )


def question_example(scene: QuestionScene, question: Question) -> dict[str, Any]:
    """A question by the names of `question_features`."""
    choice_words = np.zeros((MAX_CHOICES, CHOICE_LENGTH), np.int32)
    choice_is_correct = np.full(MAX_CHOICES, UNKNOWN, np.int32)
    for place, choice in enumerate(question.choices):
        choice_words[place] = word_ids(choice.choice, CHOICE_LENGTH)
        if choice.answer:
            choice_is_correct[place] = CHOICE_ANSWERS.index(choice.answer)
    return {
        "scene_index": scene.scene_index,
        "video_filename": scene.video_filename,
        "question_id": question.question_id,
        "question_type": question.question_type,
        "question_subtype": question.question_subtype,
        "question": question.question,
        "question_words": word_ids(question.question, QUESTION_LENGTH),
        "program": " ".join(question.program),
        "answer": question.answer,
        "answer_id": answer_id(question.answer) if question.answer else UNKNOWN,
        "choices": {
            "choice_id": [choice.choice_id for choice in question.choices],
            "choice": [choice.choice for choice in question.choices],
            "program": [" ".join(choice.program) for choice in question.choices],
        },
        "num_choices": len(question.choices),
        "choice_words": choice_words,
        "choice_is_correct": choice_is_correct,
    }
