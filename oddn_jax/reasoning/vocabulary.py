"""The words of CLEVRER's questions and answers, and their numbers.

Source: the tables of words published with ALOE (Ding et al., 2021) and used by SlotFormer: 81 words and 21 answers,
both from 1 on, 0 is padding. A comma and a possessive stay part of their word.
"""

import difflib
from collections.abc import Iterable

import numpy as np
from jaxtyping import Int32

WORDS = tuple(
    "after and any are before begins between blue brown collide collides colliding collision collisions color cube "
    "cube's cube, cubes cyan cylinder cylinder's cylinder, cylinders ends enter entering enters entrance event exit "
    "exiting exits first following for gray green happen how if is last many material metal moving next not object "
    "object's object, objects of presence purple red removed removed, responsible rubber scene second shape sphere "
    "sphere's sphere, spheres stationary that the there to video what when which will with without yellow".split()
)
ANSWERS = tuple(
    "0 1 2 3 4 5 blue brown cube cyan cylinder gray green metal no purple red rubber sphere yellow yes".split()
)
NUM_WORDS = len(WORDS) + 1  # 82, with padding
NUM_ANSWERS = len(ANSWERS) + 1  # 22
PADDING = 0
QUESTION_LENGTH = 20
CHOICE_LENGTH = 12

_WORD_IDS = {word: number for number, word in enumerate(WORDS, start=1)}
_ANSWER_IDS = {answer: number for number, answer in enumerate(ANSWERS, start=1)}


def encode_question(text: str) -> Int32[np.ndarray, "20"]:
    """The words of a question as i32[20] in 1..81, padded with 0; case and question marks do not count.

    Raises:
        ValueError: a word is unknown, or there are more than 20.
    """
    return _encode(text, QUESTION_LENGTH)


def encode_choice(text: str) -> Int32[np.ndarray, "12"]:
    """The words of a choice as i32[12] in 1..81, padded with 0; as `encode_question`.

    Raises:
        ValueError: a word is unknown, or there are more than 12.
    """
    return _encode(text, CHOICE_LENGTH)


def decode(word_ids: Iterable[int | np.integer]) -> str:
    """The text of words by their numbers, without the padding.

    Raises:
        ValueError: a number is none of 0..81.
    """
    numbers = [int(number) for number in word_ids]
    for number in numbers:
        if not 0 <= number < NUM_WORDS:
            raise ValueError(
                f"there is no word {number}: words are 1 to {NUM_WORDS - 1}, padding is {PADDING}"
            )
    return " ".join(WORDS[number - 1] for number in numbers if number != PADDING)


def encode_answer(answer: str) -> int:
    """The number of an answer, 1..21.

    Raises:
        ValueError: it is none of the 21.
    """
    if answer not in _ANSWER_IDS:
        raise ValueError(f"{answer!r} is none of the answers {' '.join(ANSWERS)}")
    return _ANSWER_IDS[answer]


def decode_answer(answer_id: int | np.integer) -> str:
    """The answer of a number in 1..21.

    Raises:
        ValueError: there is no such answer.
    """
    if not 1 <= answer_id < NUM_ANSWERS:
        raise ValueError(f"there is no answer {answer_id}: answers are 1 to {NUM_ANSWERS - 1}")
    return ANSWERS[answer_id - 1]


def _encode(text: str, length: int) -> Int32[np.ndarray, " length"]:
    words = text.lower().replace("?", "").split()
    if len(words) > length:
        raise ValueError(f"{text!r} has {len(words)} words, at most {length} fit")
    unknown = [word for word in words if word not in _WORD_IDS]
    if unknown:
        near = difflib.get_close_matches(unknown[0], WORDS)
        hint = f"the nearest known ones are {', '.join(near)}" if near else "no known one is like it"
        raise ValueError(f"{text!r} has the unknown word {unknown[0]!r}: {hint}")
    encoded = np.full(length, PADDING, np.int32)
    encoded[: len(words)] = [_WORD_IDS[word] for word in words]
    return encoded
