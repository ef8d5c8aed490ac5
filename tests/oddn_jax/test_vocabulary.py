"""The words of questions: ALOE's numbers, padding, and refusals."""

import json
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.builders.clevrer_qa import vocabulary as stored
from oddn_jax.reasoning import vocabulary

REAL_QUESTIONS = Path(__file__).parents[2].parent / "shared" / "data" / "clevrer_questions_train_sample.json"


def test_sizes_and_order():
    assert vocabulary.NUM_WORDS == 82 and vocabulary.NUM_ANSWERS == 22
    assert list(vocabulary.WORDS) == sorted(set(vocabulary.WORDS))
    assert list(vocabulary.ANSWERS) == sorted(set(vocabulary.ANSWERS))
    # Numbers that the published tables give.
    assert vocabulary.encode_question("after")[0] == 1 and vocabulary.encode_question("yellow")[0] == 81
    assert vocabulary.encode_answer("0") == 1 and vocabulary.encode_answer("yes") == 21


def test_the_data_sets_hold_the_same_numbers():
    assert stored.WORDS == vocabulary.WORDS and stored.ANSWERS == vocabulary.ANSWERS
    for text, length in (("Without the cube, which event will happen?", 20), ("the cube's exit", 12)):
        encode = vocabulary.encode_question if length == 20 else vocabulary.encode_choice
        np.testing.assert_array_equal(stored.word_ids(text, length), encode(text))
    assert [stored.answer_id(answer) for answer in stored.ANSWERS] == list(range(1, 22))


def test_there_and_back():
    text = "If the red metal cube is removed, which event will not happen?"
    encoded = vocabulary.encode_question(text)
    assert encoded.shape == (20,) and encoded.dtype == np.int32
    assert (encoded[:12] > 0).all() and not encoded[12:].any()
    assert vocabulary.decode(encoded) == text.lower().rstrip("?")
    assert vocabulary.encode_choice("the cube's exit").shape == (12,)
    assert vocabulary.decode(vocabulary.encode_choice("the cube's exit")) == "the cube's exit"
    for answer in vocabulary.ANSWERS:
        assert vocabulary.decode_answer(vocabulary.encode_answer(answer)) == answer


def test_refusals():
    with pytest.raises(ValueError, match="'pyramid'"):
        vocabulary.encode_question("What color is the pyramid?")
    with pytest.raises(ValueError, match="13 words, at most 12"):
        vocabulary.encode_choice("the " * 13)
    for number in (-1, 82):
        with pytest.raises(ValueError, match=f"no word {number}"):
            vocabulary.decode([1, number])
    with pytest.raises(ValueError, match="'maybe'"):
        vocabulary.encode_answer("maybe")
    for number in (0, 22):
        with pytest.raises(ValueError, match=f"no answer {number}"):
            vocabulary.decode_answer(number)


@pytest.mark.skipif(not REAL_QUESTIONS.exists(), reason="needs the sample of real questions")
def test_real_questions_have_no_unknown_word():
    scenes = json.loads(REAL_QUESTIONS.read_text())
    questions = [question for scene in scenes.values() for question in scene["questions"]]
    assert len(questions) > 500
    for question in questions:
        assert vocabulary.encode_question(question["question"]).any()
        for choice in question["choices"]:
            assert vocabulary.encode_choice(choice["choice"]).any()
