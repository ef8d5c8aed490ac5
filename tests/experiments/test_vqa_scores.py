"""Scores against an example worked out by hand, and the file of answers against CLEVRER's shape."""

import numpy as np
import pytest

from experiments.vqa import scores
from experiments.vqa.questions import select
from experiments.vqa.scores import Predictions
from oddn_jax.reasoning.vocabulary import encode_answer
from tests.experiments.asked import EXAMPLE, make_questions

# Right: 3; wrong: 0 for 1; right: red; explanatory: 2 of 3 choices; predictive: both; right: yes; explanatory: right;
# counterfactual: 1 of 4 choices.
ANSWERS = ["3", "0", "red", "0", "0", "yes", "0", "0"]
CHOICES = [
    [1, 1, 1, 1],
    [0, 0, 0, 0],
    [0, 0, 0, 0],
    [1, 0, 0, 1],
    [0, 1, 1, 1],
    [0, 0, 0, 0],
    [0, 1, 1, 1],
    [1, 1, 1, 0],
]
PREDICTIONS = Predictions(np.array([encode_answer(answer) for answer in ANSWERS]), np.array(CHOICES, bool))


def test_scores_of_a_worked_example():
    found = scores.score(EXAMPLE, PREDICTIONS)
    assert {
        kind: {name: value for name, value in entry.items() if "error" not in name}
        for kind, entry in found.items()
    } == {
        "descriptive": {"n": 4, "per_question": 3 / 4},
        "explanatory": {"n": 2, "per_question": 1 / 2, "num_options": 4, "per_option": 3 / 4},
        "predictive": {"n": 1, "per_question": 1.0, "num_options": 2, "per_option": 1.0},
        "counterfactual": {"n": 1, "per_question": 0.0, "num_options": 4, "per_option": 1 / 4},
        "count": {"n": 2, "per_question": 1 / 2},
        "exist": {"n": 1, "per_question": 1.0},
        "query_color": {"n": 1, "per_question": 1.0},
    }


def test_standard_errors_over_videos_against_the_bootstrap():
    """Answers about a video are right together or wrong together, so that questions are fewer than they look."""
    random = np.random.default_rng(0)
    videos = np.repeat(np.arange(80), random.integers(2, 12, 80))
    asked = make_questions(
        *[
            (int(video), number, "count", "How many collisions happen?", "2")
            for number, video in enumerate(videos)
        ]
    )
    right = random.random(len(videos)) < random.random(80)[videos]
    answers = np.where(right, encode_answer("2"), encode_answer("1"))
    found = scores.score(asked, Predictions(answers, np.zeros((len(videos), 4), bool)))["count"]
    by_video = [right[videos == video] for video in range(80)]
    resampled = [
        np.concatenate([by_video[video] for video in random.integers(0, 80, 80)]).mean() for _ in range(2000)
    ]
    assert found["standard_error"] == pytest.approx(np.std(resampled), rel=0.08)
    assert found["standard_error"] > 1.5 * np.sqrt(right.mean() * (1 - right.mean()) / len(videos))
    only = videos == 3
    one = scores.score(select(asked, only), Predictions(answers[only], np.zeros((only.sum(), 4), bool)))
    assert "standard_error" not in one["count"]


def test_types_that_nobody_asked_are_left_out():
    only = select(EXAMPLE, EXAMPLE.family == "predictive")
    found = scores.score(only, Predictions(*(part[4:5] for part in PREDICTIONS)))
    assert list(found) == ["predictive"]
    shown = scores.table({"model": found})
    assert "100.0 / 100.0" in shown and "descriptive" not in shown


def test_unknown_answers_are_not_scored():
    for unknown in ({"answer": np.full(8, -1)}, {"is_correct": np.full((8, 4), -1)}):
        with pytest.raises(ValueError, match="right answers to these questions are not known"):
            scores.score(EXAMPLE._replace(**unknown), PREDICTIONS)


def test_the_majority_of_each_family():
    train = make_questions(
        *[
            (0, number, "count", "How many collisions happen?", answer)
            for number, answer in enumerate("2212")
        ],
        (0, 4, "exist", "Are there any moving cubes?", "no"),
        (
            0,
            5,
            "explanatory",
            "What will happen?",
            [(0, "the cube", 1), (1, "the cube", 1), (2, "the cube", 0)],
        ),
        (0, 6, "predictive", "What will happen next?", [(0, "the cube", 0), (1, "the cube", 1)]),
    )
    found = scores.majority(train, EXAMPLE)
    of = dict(zip(EXAMPLE.family, found.answer))
    assert (of["count"], of["exist"]) == (encode_answer("2"), encode_answer("no"))
    assert of["query_color"] == 1  # nothing known: any answer will do
    chosen = {family: row.tolist() for family, row in zip(EXAMPLE.family, found.is_correct)}
    assert chosen["explanatory"] == [True] * 4 and chosen["predictive"] == [False] * 4


def check_submission(entries):
    """CLEVRER's format, written down apart from the code: raises AssertionError where the file deviates."""
    assert isinstance(entries, list)
    assert len({entry["scene_index"] for entry in entries}) == len(entries)
    for entry in entries:
        assert set(entry) == {"scene_index", "questions"} and type(entry["scene_index"]) is int
        assert len({question["question_id"] for question in entry["questions"]}) == len(entry["questions"])
        for question in entry["questions"]:
            assert type(question["question_id"]) is int
            if "answer" in question:
                assert set(question) == {"question_id", "answer"}
                assert (
                    question["answer"]
                    in (
                        "0 1 2 3 4 5 blue brown cube cyan cylinder gray green metal no purple red rubber sphere "
                        "yellow yes"
                    ).split()
                )
            else:
                assert set(question) == {"question_id", "choices"} and 1 <= len(question["choices"]) <= 4
                for choice in question["choices"]:
                    assert set(choice) == {"choice_id", "answer"} and type(choice["choice_id"]) is int
                    assert choice["answer"] in ("correct", "wrong")


def test_the_file_of_answers():
    entries = scores.submission(EXAMPLE, PREDICTIONS)
    check_submission(entries)
    assert [entry["scene_index"] for entry in entries] == [7, 9]
    assert entries[0]["questions"][0] == {"question_id": 0, "answer": "3"}
    assert entries[0]["questions"][3] == {
        "question_id": 3,
        "choices": [
            {"choice_id": 0, "answer": "correct"},
            {"choice_id": 1, "answer": "wrong"},
            {"choice_id": 2, "answer": "wrong"},
        ],
    }
    assert [choice["choice_id"] for choice in entries[1]["questions"][2]["choices"]] == [3, 2, 1, 0]
    # The answers need not be known, as in CLEVRER's test split.
    blank = EXAMPLE._replace(answer=np.full(8, -1), is_correct=np.full((8, 4), -1))
    assert scores.submission(blank, PREDICTIONS) == entries
