"""The bundled reasoners: how often they are right about scenes that they have not seen, by the way that `ask` goes."""

from typing import NamedTuple

import numpy as np
import pytest

import oddn_jax
from data_pipelines import build
from data_pipelines.datasets import open_split
from experiments.runs.trained import open_named
from experiments.vqa import asking, questions, reasoner
from experiments.vqa.questions import QUESTION_TYPES
from oddn_jax.reasoning import vocabulary


class Case(NamedTuple):
    """A reasoner, and videos of another seed like those that it knows."""

    reasoner: str
    videos: str
    questions: str
    options: dict[str, int]
    number: int  # of videos
    floor: float  # of right answers to descriptive questions; blind ones are right for 40 and 36 %


CASES = [
    Case("quickstart_reasoner", "quickstart_questions", "quickstart", {}, 40, 0.57),
    pytest.param(
        Case("clevrer_wide_reasoner", "64x96", "clevrer", {"stride": 4}, 24, 0.5), marks=pytest.mark.slow
    ),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.reasoner)
def asked(request, tmp_path_factory):
    """The case, and whether each descriptive question is answered right."""
    case, folder = request.param, tmp_path_factory.mktemp("data")
    options = dict(num_train=1, num_validation=case.number, seed=1)
    paths = [
        build.build(
            name, build.make_config(name, config, **options, **own), folder, splits=["validation"], jobs=1
        ).path
        for name, config, own in (
            ("simulated_clevrer", case.videos, case.options),
            ("simulated_clevrer_qa", case.questions, {}),
        )
    ]
    split, asked = open_split(paths[0], "validation"), questions.read(paths[1], "validation")
    taken = reasoner.open_reasoner(case.reasoner)
    found = open_named(taken.reads.model)
    reasoner.check_model(taken, found)
    results = []
    for place in range(len(split.entries)):
        record = split.records[place]
        watched = asking.watch(taken, found, record["video"])
        is_descriptive = asked.type == QUESTION_TYPES.index("descriptive")
        for row in np.flatnonzero((asked.scene_index == record["scene_index"]) & is_descriptive):
            (question,) = asking.parse([vocabulary.decode(asked.words[row])])
            said = asking.reply(taken, watched, question).answers[0][0]
            results.append(vocabulary.encode_answer(said) == asked.answer[row])
    return case, np.array(results)


def test_it_answers_better_than_one_who_sees_nothing(asked):
    case, right = asked
    assert len(right) > 10 * case.number
    assert right.mean() > case.floor


def test_the_header_states_such_scores(asked):
    case, right = asked
    facts = oddn_jax.read_provenance(case.reasoner)
    assert right.mean() == pytest.approx(facts["scores"]["descriptive"]["per_question"], abs=0.07)
    assert facts["simulated"] and facts["num_train_videos"] > 100
