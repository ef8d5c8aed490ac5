"""How many questions are answered right, and CLEVRER's file of answers."""

from typing import Any, NamedTuple

import numpy as np

from experiments.vqa.questions import QUESTION_TYPES, Questions
from oddn_jax.reasoning.vocabulary import decode_answer


class Predictions(NamedTuple):
    """Answers to questions q; those to questions of the other kind mean nothing."""

    answer: np.ndarray  # i32[q], 1..21
    is_correct: np.ndarray  # bool[q 4], which choices are held to be correct


def score(questions: Questions, predictions: Predictions) -> dict[str, dict[str, float | int]]:
    """The shares of right answers by type, and of descriptive questions by subtype too; types without questions lack.

    "per_question" needs all choices of a question right, "per_option" counts choices; "standard_error" and
    "option_standard_error" are theirs over videos, whose questions are about the same slots, and lack for one video.

    Source: the accuracies of CLEVRER (Yi et al., 2020), section 4.

    Raises:
        ValueError: the answers are not known.
    """
    is_descriptive = questions.type == QUESTION_TYPES.index("descriptive")
    exists = questions.choice_id >= 0
    if (questions.answer[is_descriptive] < 0).any() or (questions.is_correct[exists] < 0).any():
        raise ValueError("the right answers to these questions are not known: there is nothing to score")
    right_choices = predictions.is_correct == questions.is_correct
    right = np.where(is_descriptive, predictions.answer == questions.answer, (right_choices | ~exists).all(1))
    scores: dict[str, dict[str, float | int]] = {}
    for name in dict.fromkeys((*QUESTION_TYPES, *sorted(set(questions.family[is_descriptive])))):
        of_type = questions.family == name
        if name in QUESTION_TYPES:
            of_type = questions.type == QUESTION_TYPES.index(name)
        if not of_type.any():
            continue
        videos = questions.scene_index[of_type]
        scores[name] = {"n": int(of_type.sum()), "per_question": float(right[of_type].mean())}
        scores[name] |= _error("standard_error", right[of_type], videos)
        options = exists & of_type[:, None]
        if options.any():
            scores[name] |= {
                "num_options": int(options.sum()),
                "per_option": float(right_choices[options].mean()),
            }
            videos = np.broadcast_to(questions.scene_index[:, None], options.shape)[options]
            scores[name] |= _error("option_standard_error", right_choices[options], videos)
    return scores


def _error(name: str, right: np.ndarray, videos: np.ndarray) -> dict[str, float]:
    """The standard error of the share of right answers bool[q] about videos i[q]: that of a ratio of sums over videos.

    Source: Cochran, Sampling Techniques (1977), section 2.11.
    """
    _, of_video, asked = np.unique(videos, return_inverse=True, return_counts=True)
    number = len(asked)
    if number < 2:
        return {}
    missed = np.bincount(of_video, right) - right.mean() * asked
    return {name: float(np.sqrt(number / (number - 1) * (missed**2).sum()) / asked.sum())}


def majority(train: Questions, questions: Questions) -> Predictions:
    """What is right most often among the training questions of the same family, whatever is asked."""
    answer = np.ones(len(questions.answer), np.int32)
    is_correct = np.zeros(questions.is_correct.shape, bool)
    for family in np.unique(questions.family):
        asked, known = questions.family == family, train.family == family
        answers = train.answer[known & (train.answer > 0)]
        choices = train.is_correct[known]
        if len(answers):
            answer[asked] = np.bincount(answers).argmax()
        if (choices >= 0).any():
            is_correct[asked] = choices[choices >= 0].mean() > 0.5
    return Predictions(answer, is_correct)


def submission(questions: Questions, predictions: Predictions) -> list[dict[str, Any]]:
    """The answers as CLEVRER's test server takes them: a list of videos, each with its questions.

    Source: the format of EvalAI's challenge 667.
    """
    scenes: dict[int, list[dict]] = {}
    for place, (scene, question_id) in enumerate(zip(questions.scene_index, questions.question_id)):
        entry: dict[str, Any] = {"question_id": int(question_id)}
        if QUESTION_TYPES[questions.type[place]] == "descriptive":
            entry["answer"] = decode_answer(predictions.answer[place])
        else:
            entry["choices"] = [
                {"choice_id": int(choice_id), "answer": "correct" if is_correct else "wrong"}
                for choice_id, is_correct in zip(questions.choice_id[place], predictions.is_correct[place])
                if choice_id >= 0
            ]
        scenes.setdefault(int(scene), []).append(entry)
    return [{"scene_index": scene, "questions": entries} for scene, entries in scenes.items()]


def table(rows: dict[str, dict]) -> str:
    """Scores by row as text, in per cent: per question, and for multiple choice per option / per question; the standard
    error over videos of the last of them in parentheses."""
    shown = [name for name in QUESTION_TYPES if any(name in scores for scores in rows.values())]
    subtypes = sorted({name for scores in rows.values() for name in scores} - set(QUESTION_TYPES))
    width = max(len(name) for name in rows) + 2
    lines = []
    for names in (shown, subtypes):
        if names:
            lines.append("".join(f"{name:>20}" for name in names).rjust(width + 20 * len(names)))
            for row, scores in rows.items():
                lines.append(f"{row:<{width}}" + "".join(f"{_cell(scores.get(name)):>20}" for name in names))
    return "\n".join(lines)


def _cell(entry: dict | None) -> str:
    if entry is None:
        return "-"
    parts = [entry[name] for name in ("per_option", "per_question") if name in entry]
    error = f" ({100 * entry['standard_error']:.1f})" if "standard_error" in entry else ""
    return " / ".join("-" if part is None else f"{100 * part:.1f}" for part in parts) + error
