"""Descriptive questions about a simulated video: counting, existence, and the attributes of an object."""

import collections

import numpy as np

from data_pipelines.annotations import COLORS, MATERIALS, SHAPES
from data_pipelines.simulator.questions import phrases as phrases
from data_pipelines.simulator.questions.balance import Balance, Candidate
from data_pipelines.simulator.questions.executor import UnanswerableError, execute
from data_pipelines.simulator.questions.phrases import Phrase, pick
from data_pipelines.simulator.questions.truth import SceneTruth, seen_objects

# Source: counts in CLEVRER's published training questions: 11 descriptive ones a video, and these shares of answers.
SUBTYPES = ("count",) * 4 + ("exist",) * 2 + ("query_color", "query_material", "query_shape")
EXTRA_SUBTYPES = {"query_color": 0.42, "query_material": 0.23, "query_shape": 0.35}  # two more a video
ANSWER_SHARES = {
    "count": {"0": 0.246, "1": 0.277, "2": 0.232, "3": 0.163, "4": 0.08, "5": 0.002},
    "exist": {"yes": 0.5, "no": 0.5},
    "query_color": dict.fromkeys(COLORS, 1 / 8),
    "query_material": dict.fromkeys(MATERIALS, 1 / 2),
    "query_shape": dict.fromkeys(SHAPES, 1 / 3),
}
DRAWS = 400  # possible questions a video, from which 11 are chosen


def descriptive_questions(truth: SceneTruth, balance: Balance, generator: np.random.Generator) -> list[dict]:
    """Up to 11 questions, as `questions.scene_questions`; of varied forms, their answers the rarest so far."""
    pool = _possible_questions(truth, generator)
    extra = generator.choice(list(EXTRA_SUBTYPES), 2, p=list(EXTRA_SUBTYPES.values()))
    forms: collections.Counter[str] = collections.Counter()
    questions = []

    def excess(candidate: Candidate) -> float:
        share = ANSWER_SHARES[candidate.subtype][candidate.answer]
        keys = (candidate.subtype, candidate.form)
        return balance.excess(keys, candidate.answer, share) + forms[candidate.form]

    for subtype in (*SUBTYPES, *extra):
        if not pool[subtype]:
            continue
        best = min(pool[subtype].values(), key=excess)
        del pool[subtype][best.text]
        balance.add((best.subtype, best.form), best.answer)
        forms[best.form] += 1
        questions.append(
            {
                "question": best.text,
                "question_type": "descriptive",
                "question_subtype": best.subtype,
                "program": list(best.program),
                "answer": best.answer,
            }
        )
    return questions


def _possible_questions(truth: SceneTruth, generator: np.random.Generator) -> dict[str, dict[str, Candidate]]:
    """Questions that the scene answers, by subtype and text."""
    pool: dict[str, dict[str, Candidate]] = {subtype: {} for subtype in ANSWER_SHARES}
    for _ in range(DRAWS):
        subtype = pick(generator, list(pool))
        text, program, form = _sample_question(subtype, truth, generator)
        try:
            answer = execute(program, truth)
        except UnanswerableError:
            continue
        if answer in ANSWER_SHARES[subtype]:
            pool[subtype].setdefault(text, Candidate(text, program, form, answer, subtype))
    return pool


def _sample_question(subtype: str, truth: SceneTruth, generator: np.random.Generator) -> Phrase:
    if subtype.startswith("query_"):
        return _sample_query(subtype.removeprefix("query_"), truth, generator)
    group = phrases.sample_group(truth, generator)
    state = pick(generator, ("moving", "stationary"))
    verb, passing = pick(generator, (("enter", "filter_in"), ("exit", "filter_out")))
    about = pick(generator, ("state", "passage", "collision"))
    count = subtype == "count"
    if about == "state":
        time = phrases.sample_time(truth, generator)
        texts = (f"How many {group.plural} are {state}", f"How many {state} {group.plural} are there")
        text = (pick(generator, texts) if count else f"Are there any {state} {group.plural}") + time.text
        program = (*group.program, *time.program, f"filter_{state}")
        form = f"{state} {time.form} {group.num_attributes}"
    else:
        period = phrases.sample_period(truth, generator)
        if about == "passage":
            start = (
                f"How many {group.plural} {verb}" if count else f"Are there any {group.plural} that {verb}"
            )
            text = f"{start} the scene{period.text}"
            program = (*period.program, *group.program, passing)
            form = f"{verb} {period.form} {group.num_attributes}"
        else:
            text = (
                "How many collisions happen" if count else "Are there any collisions that happen"
            ) + period.text
            program = (*period.program, "objects", "filter_collision")
            form = f"collision {period.form}"
    return Phrase(text + "?", (*program, subtype), f"{subtype} {form}")


def _sample_query(attribute: str, truth: SceneTruth, generator: np.random.Generator) -> Phrase:
    lead = pick(generator, (f"What is the {attribute} of the", f"What {attribute} is the"))
    order = pick(generator, ("first", "second", "last"))
    about = pick(generator, ("state", "passage", "collision", "partner"))
    if about == "state":
        group = phrases.sample_group(truth, generator, without=attribute)
        time = phrases.sample_time(truth, generator)
        # What moves as an object enters is that object, which the question would name.
        states = ("stationary",) if time.form == "when enters" else ("moving", "stationary")
        state = pick(generator, states)
        text = pick(generator, (f"{group.singular} that is {state}", f"{state} {group.singular}")) + time.text
        program = (*group.program, *time.program, f"filter_{state}", "unique")
        form = f"{state} {time.form}"
    elif about == "passage":
        verb, word = pick(generator, (("enter", "filter_in"), ("exit", "filter_out")))
        text = pick(
            generator, (f"{order} object to {verb} the scene", f"{order} object that {verb}s the scene")
        )
        program = ("events", "objects", word, order, "filter_order", "get_object")
        form = f"{order} {verb}"
    else:
        named = pick(generator, seen_objects(truth))
        thing = phrases.name_object(truth, named, generator)
        which = ("unique",) if about == "partner" else (order, "filter_order")
        text = ("" if about == "partner" else f"{order} ") + f"object to collide with the {thing.text}"
        program = ("events", *thing.program, "filter_collision", *which, *thing.program, "get_col_partner")
        # An object that is named by its color alone is the only one of that color.
        known = truth.attributes[named][phrases.ATTRIBUTES.index(attribute)]
        form = f"collision {known if known in thing.text.split() else ''}"
    return Phrase(f"{lead} {text}?", (*program, f"query_{attribute}"), f"query_{attribute} {form}")
