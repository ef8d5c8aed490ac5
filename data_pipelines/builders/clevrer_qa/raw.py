"""CLEVRER's question files as checked records.

Source: the README published with CLEVRER, and published statistics of its training questions.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from data_pipelines.builders.clevrer.raw import SPLITS
from data_pipelines.builders.clevrer_qa.vocabulary import CHOICE_LENGTH, QUESTION_LENGTH, answer_id, word_ids
from data_pipelines.json_files import read_json
from data_pipelines.raw_files import find_files, note_file
from data_pipelines.simulator.questions.executor import check_program

FILENAMES = {"train": ("train.json",), "validation": ("validation.json", "val.json"), "test": ("test.json",)}
QUESTION_TYPES = ("descriptive", "explanatory", "predictive", "counterfactual")
QUESTION_SUBTYPES = ("count", "exist", "query_color", "query_material", "query_shape")
CHOICE_ANSWERS = ("wrong", "correct")
MAX_CHOICES = 4


class Choice(NamedTuple):
    """One option of a multiple-choice question."""

    choice_id: int
    choice: str
    program: tuple[str, ...]  # empty in the test split
    answer: str  # "correct" or "wrong"; empty in the test split


class Question(NamedTuple):
    """One question about one video."""

    question_id: int  # counts within the video
    question: str
    question_type: str
    question_subtype: str  # of descriptive questions; empty where there is none
    program: tuple[str, ...]  # follows the program of a choice; empty in the test split
    answer: str  # of descriptive questions; empty in the test split
    choices: tuple[Choice, ...]  # 1 to 4; none of a descriptive question


class QuestionScene(NamedTuple):
    """All questions about one video."""

    scene_index: int
    video_filename: str
    questions: tuple[Question, ...]


def find_question_files(raw_dir: Path) -> dict[str, Path]:
    """The question file of each split below a folder, however deep it lies: train.json and so on; val.json will do.

    Raises:
        OSError: there is no such folder, no question file in it, or a folder that may not be read.
        ValueError: a split has two.
    """
    split_of = {name: split for split, names in FILENAMES.items() for name in names}
    found: dict[str, Path] = {}
    for path in find_files(raw_dir):
        if path.name in split_of:
            split = split_of[path.name]
            note_file(found, split, path, f"the question file of the {split} split")
    if not found:
        raise FileNotFoundError(
            f"{raw_dir} holds no CLEVRER questions (train.json, validation.json or test.json, in any subfolder): "
            "download them from the project page, or simulate some with python -m data_pipelines.simulator questions"
        )
    return {split: found[split] for split in FILENAMES if split in found}


def read_questions(path: Path, split: str) -> Iterator[QuestionScene]:
    """Reads the question file of a split, scene after scene, and checks all of it.

    Only the test split may lack programs and answers, and it may have them.

    Raises:
        ValueError: the file is no question file, or something in it is wrong; one line names the file, the scene and
            the question.
    """
    scenes = read_json(path)
    if not isinstance(scenes, list) or not scenes:
        raise ValueError(f"{path}: not a list of scenes with questions")
    seen: set[int] = set()
    for position, entry in enumerate(scenes):
        where = f"{path}: entry {position}"
        try:
            scene_index = _integer(entry, "scene_index")
            where = f"{path}: scene {scene_index}"
            _require(scene_index in SPLITS[split], f"its index is not of the {split} split")
            _require(scene_index not in seen, "it is there twice")
            seen.add(scene_index)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        try:
            yield parse_scene(entry, needs_answers=split != "test")
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def parse_scene(entry: dict[str, Any], needs_answers: bool = True) -> QuestionScene:
    """Checks the questions about one video, as a question file holds them.

    Args:
        entry: has a `scene_index`.
        needs_answers: False where programs and answers may be missing, as in the test split.

    Raises:
        ValueError: something is wrong; one line names the scene and the question.
    """
    scene_index = _integer(entry, "scene_index")
    where = f"scene {scene_index}"
    try:
        video_filename, listed = _text(entry, "video_filename"), _list(entry, "questions")
        questions = []
        for place, question in enumerate(listed):
            where = f"scene {scene_index}: question at place {place}"
            question_id = _integer(question, "question_id")
            where = f"scene {scene_index}: question {question_id}"
            _require(question_id not in [other.question_id for other in questions], "its id is there twice")
            questions.append(_question(question, question_id, needs_answers))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return QuestionScene(scene_index, video_filename, tuple(questions))


def _question(entry: dict, question_id: int, needs_answers: bool) -> Question:
    text, question_type = _text(entry, "question"), _text(entry, "question_type")
    word_ids(text, QUESTION_LENGTH)
    _require(
        question_type in QUESTION_TYPES, f"its type {question_type!r} is none of {', '.join(QUESTION_TYPES)}"
    )
    has_answers = needs_answers or "program" in entry
    program = _program(entry) if has_answers else ()
    if question_type == "descriptive":
        _require("choices" not in entry, "a descriptive question has no choices")
        subtype = _text(entry, "question_subtype") if has_answers else entry.get("question_subtype", "")
        known = (*QUESTION_SUBTYPES, *(() if has_answers else ("",)))
        _require(subtype in known, f"its subtype {subtype!r} is none of {', '.join(QUESTION_SUBTYPES)}")
        answer = _text(entry, "answer") if has_answers else ""
        if has_answers:
            answer_id(answer)
            check_program(program)
        return Question(question_id, text, question_type, subtype, program, answer, ())
    listed = _list(entry, "choices")
    _require(1 <= len(listed) <= MAX_CHOICES, f"it has {len(listed)} choices, not 1 to {MAX_CHOICES}")
    choices = []
    for place, choice in enumerate(listed):
        try:
            choices.append(_choice(choice, program, has_answers))
        except ValueError as error:
            raise ValueError(f"choice {place}: {error}") from None
    _require(len({choice.choice_id for choice in choices}) == len(choices), "two of its choices have one id")
    return Question(question_id, text, question_type, "", program, "", tuple(choices))


def _choice(entry: dict, question_program: tuple[str, ...], has_answers: bool) -> Choice:
    choice_id, text = _integer(entry, "choice_id"), _text(entry, "choice")
    word_ids(text, CHOICE_LENGTH)
    if not has_answers:
        return Choice(choice_id, text, (), "")
    program, answer = _program(entry), _text(entry, "answer")
    check_program((*program, *question_program))
    _require(answer in CHOICE_ANSWERS, f"its answer {answer!r} is neither correct nor wrong")
    return Choice(choice_id, text, program, answer)


def _program(entry: dict) -> tuple[str, ...]:
    program = _list(entry, "program")
    _require(bool(program), "its program is empty")
    _require(all(isinstance(word, str) for word in program), "its program is not a list of words")
    return tuple(program)


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def _get(entry: Any, key: str, kind: type, called: str) -> Any:
    _require(isinstance(entry, dict), f"it is not an object with keys but {type(entry).__name__}")
    _require(key in entry, f"the key {key!r} is missing")
    value = entry[key]
    _require(isinstance(value, kind) and not isinstance(value, bool), f"{key} is {value!r:.40}, not {called}")
    return value


def _text(entry: Any, key: str) -> str:
    return _get(entry, key, str, "a text")


def _integer(entry: Any, key: str) -> int:
    number = _get(entry, key, int, "a whole number")
    _require(0 <= number < 2**31, f"{key} is {number}, not in 0 to 2**31 - 1")  # as it is stored
    return number


def _list(entry: Any, key: str) -> list:
    return _get(entry, key, list, "a list")
