"""How CLEVRER's questions name objects, times and events, each with the part of the program that finds them.

Source: CLEVRER's question files (Yi et al., ICLR 2020) and the examples in its paper.
"""

import itertools
from typing import NamedTuple

import numpy as np

from data_pipelines.annotations import COLORS, MATERIALS, SHAPES
from data_pipelines.simulator.questions.executor import Event
from data_pipelines.simulator.questions.truth import SceneTruth, seen_objects

ATTRIBUTE_WORDS = {"color": COLORS, "material": MATERIALS, "shape": SHAPES}
ATTRIBUTES = tuple(ATTRIBUTE_WORDS)
GROUP_PROBABILITIES = {"color": 0.15, "material": 0.3, "shape": 0.3}  # of being named. Source: our choice.


class Phrase(NamedTuple):
    """Words of a question, what finds what they mean, and their form: the words without names of objects."""

    text: str
    program: tuple[str, ...]
    form: str = ""


class Group(NamedTuple):
    """Objects by some of their attributes: "metal cubes"."""

    plural: str
    singular: str
    program: tuple[str, ...]
    num_attributes: int


def name_object(truth: SceneTruth, i: int, generator: np.random.Generator) -> Phrase:
    """A noun phrase, without article, that fits one seen object alone, such as "gray cube"; short ones come oftener."""
    others = [truth.attributes[j] for j in seen_objects(truth) if j != i]
    own = truth.attributes[i]
    fitting = [
        places
        for count in (1, 2, 3)
        for places in itertools.combinations(range(3), count)
        if not any(all(other[place] == own[place] for place in places) for other in others)
    ]
    weights = np.array([4.0 ** -len(places) for places in fitting])
    places = fitting[generator.choice(len(fitting), p=weights / weights.sum())]
    words = {ATTRIBUTES[place]: own[place] for place in places}
    return Phrase(" ".join(_noun_words(words)), (*_filters(words), "unique"))


def sample_group(truth: SceneTruth, generator: np.random.Generator, without: str | None = None) -> Group:
    """A group by attributes of one of the seen objects, or of any; never by the attribute `without`."""
    like = truth.attributes[pick(generator, seen_objects(truth))]
    words = {}
    for attribute, own in zip(ATTRIBUTES, like):
        if attribute != without and generator.random() < GROUP_PROBABILITIES[attribute]:
            words[attribute] = (
                own if generator.random() < 0.6 else pick(generator, ATTRIBUTE_WORDS[attribute])
            )
    singular = " ".join(_noun_words(words))
    return Group(singular + "s", singular, _filters(words), len(words))


def sample_time(truth: SceneTruth, generator: np.random.Generator) -> Phrase:
    """A moment, as in "when the video ends", and what gives its frame; no words mean any time."""
    kind = pick(generator, ("", "begins", "ends", "event"))
    if kind == "":
        return Phrase("", ("null",), "ever")
    if kind != "event":
        word = {"begins": "start", "ends": "end"}[kind]
        return Phrase(f" when the video {kind}", (word, "get_frame"), kind)
    passage = _sample_passage(truth, generator)
    return Phrase(f" when {passage.text}", (*passage.program, "get_frame"), f"when {passage.form}")


def sample_period(truth: SceneTruth, generator: np.random.Generator) -> Phrase:
    """The events before or after something, as in "after the cube enters the scene", or all."""
    if generator.random() < 0.35:
        return Phrase("", ("events",), "ever")
    side = pick(generator, ("before", "after"))
    passage = _sample_passage(truth, generator)
    program = ("events", *passage.program, f"filter_{side}")
    return Phrase(f" {side} {passage.text}", program, f"{side} {passage.form}")


def name_collision(
    truth: SceneTruth, event: Event, generator: np.random.Generator, among: str = "events"
) -> tuple[str, str, tuple[str, ...]]:
    """The two objects of a collision in either order, and the program that finds it in `among`."""
    first, second = (name_object(truth, int(i), generator) for i in generator.permutation(event.objects))
    program = (among, *first.program, "filter_collision", *second.program, "filter_collision", "unique")
    return first.text, second.text, program


def name_cause(truth: SceneTruth, event: Event, generator: np.random.Generator) -> Phrase:
    """An event as a noun: "the collision between the cube and the sphere", "the cube's exit"."""
    if event.kind == "collision":
        first, second, program = name_collision(truth, event, generator)
        texts = (
            f"the collision between the {first} and the {second}",
            f"the {first}'s colliding with the {second}",
        )
        return Phrase(pick(generator, texts), program)
    thing = name_object(truth, event.objects[0], generator)
    nouns = {"in": ("entrance", "entering the scene"), "out": ("exit", "exiting the scene")}[event.kind]
    program = ("events", *thing.program, f"filter_{event.kind}", "unique")
    return Phrase(f"the {thing.text}'s {pick(generator, nouns)}", program)


def pick(generator: np.random.Generator, options):
    """One of a sequence, each as likely."""
    return options[generator.integers(len(options))]


def _sample_passage(truth: SceneTruth, generator: np.random.Generator) -> Phrase:
    thing = name_object(truth, pick(generator, seen_objects(truth)), generator)
    verb, word = pick(generator, (("enters", "filter_in"), ("exits", "filter_out")))
    return Phrase(f"the {thing.text} {verb} the scene", ("events", *thing.program, word, "unique"), verb)


def _noun_words(words: dict[str, str]) -> list[str]:
    adjectives = [words[attribute] for attribute in ("color", "material") if attribute in words]
    return [*adjectives, words.get("shape", "object")]


def _filters(words: dict[str, str]) -> tuple[str, ...]:
    return ("objects", *(word for attribute in words for word in (words[attribute], f"filter_{attribute}")))
