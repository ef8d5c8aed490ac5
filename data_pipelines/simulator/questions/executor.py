"""The language of CLEVRER's programs: checking a program, and running it on what is known of a scene.

A program is a list of words in postfix order. A word takes its arguments from a stack and puts its result there. A
choice of a multiple-choice question is judged by the choice's program followed by the question's.

Source: the programs in CLEVRER's question files (47 words) and the meaning that the executor released with CLEVRER
gives them, which knows some of the words by other names. Ours: the end of the video is its last frame, and at equal
frames entering and leaving come before collisions.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from data_pipelines.annotations import COLORS, MATERIALS, SHAPES
from data_pipelines.simulator.questions.truth import SceneTruth, seen_objects, seen_pairs

# Kinds of arguments, and the kind of the result. A set is of objects or of events.
SIGNATURES: dict[str, tuple[tuple[str, ...], str]] = {
    "objects": ((), "objects"),
    "events": ((), "events"),
    "all_events": ((), "events"),
    "unseen_events": ((), "events"),
    "start": ((), "event"),
    "end": ((), "event"),
    "null": ((), "frame"),
    **{word: ((), "order") for word in ("first", "second", "last")},
    **{word: ((), "color") for word in COLORS},
    **{word: ((), "material") for word in MATERIALS},
    **{word: ((), "shape") for word in SHAPES},
    "filter_color": (("objects", "color"), "objects"),
    "filter_material": (("objects", "material"), "objects"),
    "filter_shape": (("objects", "shape"), "objects"),
    "filter_moving": (("objects", "frame"), "objects"),
    "filter_stationary": (("objects", "frame"), "objects"),
    "filter_in": (("events", "objects|object"), "events"),
    "filter_out": (("events", "objects|object"), "events"),
    "filter_collision": (("events", "objects|object"), "events"),
    "filter_before": (("events", "event"), "events"),
    "filter_after": (("events", "event"), "events"),
    "filter_ancestor": (("events", "event"), "events"),
    "filter_order": (("events", "order"), "event"),
    "unique": (("objects|events",), "member"),
    "get_frame": (("event",), "frame"),
    "get_object": (("event",), "object"),
    "get_col_partner": (("event", "object"), "object"),
    "get_counterfact": (("events", "object"), "events"),
    "query_color": (("object",), "answer"),
    "query_material": (("object",), "answer"),
    "query_shape": (("object",), "answer"),
    "count": (("objects|events",), "answer"),
    "exist": (("objects|events",), "answer"),
    "belong_to": (("event|object", "events"), "answer"),
    "negate": (("answer",), "answer"),
}
_ATTRIBUTES = ("color", "material", "shape")
_ORDER = {"first": 0, "second": 1, "last": -1}
_NO_FRAME = -1  # what null means: at any time


class Event(NamedTuple):
    """Something that happens; start and end have no objects."""

    kind: str  # start, end, in, out, collision
    frame: int  # -1 for a collision that is only thought of
    objects: tuple[int, ...]


class UnanswerableError(ValueError):
    """A sound program that has no answer in this scene, as when `unique` meets two objects."""


def check_program(program: Sequence[str]) -> None:
    """Checks that a program is made of known words, each with its arguments, and ends in one answer.

    Raises:
        ValueError: it is not; one line says where.
    """
    stack: list[str] = []
    for position, word in enumerate(program):
        if word not in SIGNATURES:
            raise ValueError(f"the program has the unknown word {word!r:.40}")
        arguments, result = SIGNATURES[word]
        given = stack[len(stack) - len(arguments) :] if len(stack) >= len(arguments) else []
        if len(given) < len(arguments) or any(
            kind not in wanted.split("|") for kind, wanted in zip(given, arguments)
        ):
            wanted = " and ".join(arguments).replace("|", " or ")
            raise ValueError(f"word {position + 1} of the program, {word!r}, needs {wanted}")
        del stack[len(stack) - len(arguments) :]
        stack.append(given[0].removesuffix("s") if result == "member" else result)
    if stack != ["answer"]:
        raise ValueError(f"the program ends in {' and '.join(stack[:9]) or 'nothing'}, not in one answer")


def execute(program: Sequence[str], truth: SceneTruth) -> str:
    """The answer that a checked program gives: a number, an attribute, "yes" or "no".

    Raises:
        UnanswerableError: the scene has no answer to it.
    """
    events = video_events(truth)
    stack: list[Any] = []
    for word in program:
        arguments = [stack.pop() for _ in SIGNATURES[word][0]][::-1]
        stack.append(_apply(word, arguments, truth, events))
    return stack[-1]


def video_events(truth: SceneTruth) -> list[Event]:
    """Enterings, exits and collisions of the video in the order of their frames."""
    return [event for event in _all_frames(truth) if event.frame < truth.num_frames]


def unseen_events(truth: SceneTruth) -> list[Event]:
    """What happens after the video, as far as it is known."""
    return [event for event in _all_frames(truth) if event.frame >= truth.num_frames]


def ancestors(event: Event, events: Sequence[Event]) -> list[Event]:
    """The causes of an event: what last happened before to each of its objects, and the causes of that."""
    found: list[Event] = []
    waiting = [event]
    while waiting:
        effect = waiting.pop()
        for i in effect.objects:
            history = [other for other in events if i in other.objects]
            before = history[: history.index(effect)] if effect in history else []
            if before and before[-1] not in found:
                found.append(before[-1])
                waiting.append(before[-1])
    return found


def _all_frames(truth: SceneTruth) -> list[Event]:
    inside = truth.inside_camera_view
    events = [
        Event("in" if inside[frame, i] else "out", frame, (i,))
        for i in seen_objects(truth)
        for frame in (np.flatnonzero(np.diff(inside[:, i])) + 1).tolist()
    ]
    events += [Event("collision", frame, pair) for frame, pair in truth.collisions]
    return sorted(events, key=lambda event: (event.frame, event.kind == "collision", event.objects))


def _apply(word: str, arguments: list[Any], truth: SceneTruth, events: list[Event]) -> Any:
    match word, arguments:
        case "objects", []:
            return seen_objects(truth)
        case "events", []:
            return events
        case "unseen_events", []:
            return unseen_events(truth)
        case "all_events", []:
            return [Event("collision", -1, pair) for pair in seen_pairs(truth)]
        case "start", []:
            return Event("start", 0, ())
        case "end", []:
            return Event("end", truth.num_frames - 1, ())
        case "null", []:
            return _NO_FRAME
        case (("filter_color" | "filter_material" | "filter_shape"), [objects, value]):
            return [i for i in objects if _attribute(truth, i, word) == value]
        case (("filter_moving" | "filter_stationary"), [objects, frame]):
            return [i for i in objects if _state(truth, i, frame) == word.removeprefix("filter_")]
        case (("filter_in" | "filter_out" | "filter_collision"), [among, objects]):
            wanted = set(objects) if isinstance(objects, list) else {objects}
            kind = word.removeprefix("filter_")
            return [event for event in among if event.kind == kind and wanted & set(event.objects)]
        case "filter_before", [among, event]:
            return [other for other in among if other.frame < event.frame]
        case "filter_after", [among, event]:
            return [other for other in among if other.frame > event.frame]
        case "filter_ancestor", [among, event]:
            causes = ancestors(event, events)
            return [other for other in among if other in causes]
        case "filter_order", [among, order]:
            if not among or _ORDER[order] >= len(among):
                raise UnanswerableError(f"there is no {order} of {len(among)} events")
            return among[_ORDER[order]]
        case "unique", [members]:
            if len(members) != 1:
                raise UnanswerableError(f"{len(members)} objects or events instead of one")
            return members[0]
        case "get_frame", [event]:
            return event.frame
        case "get_object", [event]:
            if len(event.objects) != 1:
                raise UnanswerableError(f"the event {event.kind} has {len(event.objects)} objects")
            return event.objects[0]
        case "get_col_partner", [event, i]:
            if event.kind != "collision" or i not in event.objects:
                raise UnanswerableError(f"the object is in no collision with anything: {event.kind}")
            return sum(event.objects) - i
        case "get_counterfact", [among, i]:
            if i >= len(truth.counterfactual):
                raise UnanswerableError("what would happen without the object is unknown")
            return [event for event in among if event.objects in truth.counterfactual[i]]
        case (("query_color" | "query_material" | "query_shape"), [i]):
            return _attribute(truth, i, word)
        case "count", [members]:
            return str(len(members))
        case "exist", [members]:
            return "yes" if members else "no"
        case "belong_to", [int() as i, among]:
            return "yes" if any(i in event.objects for event in among) else "no"
        case "belong_to", [event, among]:
            same = (event.kind, event.objects)
            return "yes" if any((other.kind, other.objects) == same for other in among) else "no"
        case "negate", [answer]:
            return {"yes": "no", "no": "yes"}[answer]
    return word  # a color, a material, a shape or an order stands for itself


def _attribute(truth: SceneTruth, i: int, word: str) -> str:
    return truth.attributes[i][_ATTRIBUTES.index(word.partition("_")[2])]


def _state(truth: SceneTruth, i: int, frame: int) -> str | None:
    """moving or stationary; None where the object is out of view."""
    inside, moving = truth.inside_camera_view[: truth.num_frames, i], truth.moving[: truth.num_frames, i]
    if frame == _NO_FRAME:
        is_moving = bool((inside & moving).any())
    elif inside[frame]:
        is_moving = bool(moving[frame])
    else:
        return None
    return "moving" if is_moving else "stationary"
