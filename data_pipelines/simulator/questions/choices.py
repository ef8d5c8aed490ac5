"""Multiple-choice questions about a simulated video: why something happened, what comes next, and what if."""

import numpy as np

from data_pipelines.simulator.questions import phrases as phrases
from data_pipelines.simulator.questions.balance import Balance, Candidate
from data_pipelines.simulator.questions.executor import Event, ancestors, execute, unseen_events, video_events
from data_pipelines.simulator.questions.phrases import pick
from data_pipelines.simulator.questions.truth import Pair, SceneTruth, seen_objects, seen_pairs

# Source: counts in CLEVRER's published training questions: 1.7 explanatory and 1.9 counterfactual ones a video.
NUM_EXPLANATORY = {1: 0.3, 2: 0.7}
NUM_COUNTERFACTUAL = {1: 0.1, 2: 0.9}
NUM_COUNTERFACTUAL_CHOICES = {2: 0.12, 3: 0.55, 4: 0.33}
CHOICE_SHARES = {"correct": 0.5, "wrong": 0.5}
MAX_CHOICES = 4


def explanatory_questions(truth: SceneTruth, balance: Balance, generator: np.random.Generator) -> list[dict]:
    """Up to two questions about the causes of a collision or an exit."""
    events = video_events(truth)
    wanted = _draw(generator, NUM_EXPLANATORY)
    questions: list[dict] = []
    kinds = [(event.kind, event.objects) for event in events]
    targets = [
        event
        for event in events
        if event.kind in ("collision", "out") and kinds.count((event.kind, event.objects)) == 1
    ]
    # The later an event, the more can be its cause.
    for k in sorted(range(len(targets)), key=lambda k: -k + generator.normal(0, 2)):
        if len(questions) == wanted:
            break
        negated = generator.random() < 0.5
        candidates = _possible_causes(truth, targets[k], negated, generator)
        if len(candidates) < 2 or all(candidate.answer == "correct" for candidate in candidates):
            continue
        chosen = _choose(candidates, MAX_CHOICES, balance, generator)
        cause = phrases.name_cause(truth, targets[k], generator)
        program = ("events", *cause.program, "filter_ancestor", "belong_to", *_negation(negated))
        text = f"Which of the following is {_not(negated)}responsible for {cause.text}?"
        questions.append(_multiple_choice("explanatory", text, program, chosen, truth))
    return questions


def _possible_causes(
    truth: SceneTruth, target: Event, negated: bool, generator: np.random.Generator
) -> list[Candidate]:
    """Collisions, entrances and objects, with what tells a reader of the text something: objects in common."""
    events = video_events(truth)
    causes = ancestors(target, events)
    kinds = [(event.kind, event.objects) for event in events]
    candidates = []
    for event in events:
        unique = kinds.count((event.kind, event.objects)) == 1
        if event != target and event.kind in ("in", "collision") and unique:
            text, program, _ = phrases.name_cause(truth, event, generator)
            common = len(set(event.objects) & set(target.objects))
            is_cause = event in causes
            candidates.append((f"{event.kind} {common}", text, program, is_cause))
    for i in set(seen_objects(truth)) - set(target.objects):
        thing = phrases.name_object(truth, i, generator)
        is_cause = any(i in event.objects for event in causes)
        candidates.append(("presence", f"the presence of the {thing.text}", thing.program, is_cause))
    return [
        Candidate(
            text,
            program,
            f"explanatory {target.kind} {form} {negated}",
            "correct" if is_cause != negated else "wrong",
        )
        for form, text, program, is_cause in candidates
    ]


def predictive_questions(truth: SceneTruth, generator: np.random.Generator) -> list[dict]:
    """One question where objects collide after the video, with a true and a false collision."""
    will_collide = {event.objects for event in unseen_events(truth) if event.kind == "collision"}
    right = [pair for pair in seen_pairs(truth) if pair in will_collide]
    # A false collision between objects that are still there is harder to tell.
    last = truth.inside_camera_view[truth.num_frames - 1]
    wrong = [pair for pair in seen_pairs(truth) if pair not in will_collide]
    wrong = [pair for pair in wrong if last[list(pair)].all()] or wrong
    if not right or not wrong:
        return []
    pairs = [pick(generator, right), pick(generator, wrong)]
    choices = [_collision_choice(truth, pairs[int(k)], "", "", generator) for k in generator.permutation(2)]
    text = pick(generator, ("What will happen next?", "Which event will happen next?"))
    return [_multiple_choice("predictive", text, ("unseen_events", "belong_to"), choices, truth)]


def counterfactual_questions(
    truth: SceneTruth, balance: Balance, generator: np.random.Generator
) -> list[dict]:
    """Up to two questions about the collisions that would happen without an object."""
    wanted = _draw(generator, NUM_COUNTERFACTUAL)
    happened = {event.objects for event in video_events(truth) if event.kind == "collision"}
    objects = [i for i in seen_objects(truth) if truth.counterfactual]
    # Removals that change what happens to the others come first.
    changed = {i: truth.counterfactual[i] ^ {pair for pair in happened if i not in pair} for i in objects}
    questions: list[dict] = []
    for i in sorted(objects, key=lambda i: (not changed[i], generator.random())):
        if len(questions) == wanted:
            break
        negated = generator.random() < 0.5
        candidates = [
            _collision_choice(
                truth,
                pair,
                f"counterfactual {negated}",
                "correct" if (pair in truth.counterfactual[i]) != negated else "wrong",
                generator,
            )
            for pair in sorted(
                seen_pairs(truth), key=lambda pair: (pair not in changed[i], generator.random())
            )
            if i not in pair
        ]
        number = _draw(generator, NUM_COUNTERFACTUAL_CHOICES)
        if len({candidate.answer for candidate in candidates}) < 2:
            continue
        chosen = _choose(candidates, number, balance, generator)
        thing = phrases.name_object(truth, i, generator)
        event = pick(generator, ("which event", "which of the following"))
        happens = f"{event} will {_not(negated)}happen"
        texts = (
            f"{happens.capitalize()} if the {thing.text} is removed?",
            f"If the {thing.text} is removed, {happens}?",
            f"Without the {thing.text}, {happens}?",
        )
        program = ("all_events", *thing.program, "get_counterfact", "belong_to", *_negation(negated))
        questions.append(_multiple_choice("counterfactual", pick(generator, texts), program, chosen, truth))
    return questions


def _collision_choice(
    truth: SceneTruth, pair: Pair, form: str, answer: str, generator: np.random.Generator
) -> Candidate:
    event = Event("collision", -1, pair)
    first, second, program = phrases.name_collision(truth, event, generator, "all_events")
    texts = (f"The {first} and the {second} collide", f"The {first} collides with the {second}")
    return Candidate(pick(generator, texts), program, form, answer)


def _choose(
    candidates: list[Candidate], number: int, balance: Balance, generator: np.random.Generator
) -> list[Candidate]:
    """Up to `number` candidates in any order, one of each answer if there is one, then what was given least so far."""
    left, chosen = list(candidates), []
    while left and len(chosen) < number:
        missing = {"correct", "wrong"} - {candidate.answer for candidate in chosen}
        wanted = [candidate for candidate in left if candidate.answer in missing] or left
        best = min(wanted, key=lambda c: balance.excess((c.form,), c.answer, CHOICE_SHARES[c.answer]))
        left.remove(best)
        balance.add((best.form,), best.answer)
        chosen.append(best)
    return [chosen[int(k)] for k in generator.permutation(len(chosen))]


def _multiple_choice(
    question_type: str, text: str, program: tuple[str, ...], choices: list[Candidate], truth: SceneTruth
) -> dict:
    answers = [execute((*choice.program, *program), truth) for choice in choices]
    return {
        "question": text,
        "question_type": question_type,
        "program": list(program),
        "choices": [
            {
                "choice_id": number,
                "choice": choice.text,
                "program": list(choice.program),
                "answer": "correct" if answer == "yes" else "wrong",
            }
            for number, (choice, answer) in enumerate(zip(choices, answers))
        ],
    }


def _draw(generator: np.random.Generator, probabilities: dict[int, float]) -> int:
    return int(generator.choice(list(probabilities), p=list(probabilities.values())))


def _not(negated: bool) -> str:
    return "not " if negated else ""


def _negation(negated: bool) -> tuple[str, ...]:
    return ("negate",) if negated else ()
