"""The words of CLEVRER's questions and answers, numbered as in ALOE's published tables, so that data sets hold numbers.

The library has the same table; neither may import the other, and a test compares them.
"""

import numpy as np

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
PADDING = 0  # words and answers count from 1
QUESTION_LENGTH = 20
CHOICE_LENGTH = 12

_WORD_IDS = {word: number for number, word in enumerate(WORDS, start=1)}


def word_ids(text: str, length: int) -> np.ndarray:
    """The numbers i32[length] of the words of a text, padded with 0.

    Raises:
        ValueError: a word is unknown, or the text is empty or too long.
    """
    words = text.lower().replace("?", "").split()
    unknown = [word for word in words if word not in _WORD_IDS]
    if unknown:
        raise ValueError(f"the word {unknown[0]!r} is not in the vocabulary")
    if not 1 <= len(words) <= length:
        raise ValueError(f"the text has {len(words)} words, not 1 to {length}: {text!r}")
    return np.array([_WORD_IDS[word] for word in words] + [PADDING] * (length - len(words)), np.int32)


def answer_id(answer: str) -> int:
    """The number of an answer.

    Raises:
        ValueError: it is none of the 21.
    """
    if answer not in ANSWERS:
        raise ValueError(f"the answer {answer!r} is none of {' '.join(ANSWERS)}")
    return ANSWERS.index(answer) + 1
