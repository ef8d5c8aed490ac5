"""What a person changed in a clip, as a record of a request: the page keeps it, every answer is a function of it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments.exploring.belief import CHUNK, MOST_CHUNKS

MOST_DOUBLES = 3
MOST_EDITS = 64
FARTHEST = 4096.0  # pixels, and of every other number that a page may send


class Remove(NamedTuple):
    """The slot is gone."""

    slot: int


class Double(NamedTuple):
    """A copy of the slot comes into being at an offset; copies are numbered on from the last slot."""

    slot: int
    offset: tuple[float, float]  # pixels, x then y


class Move(NamedTuple):
    """What the slot shows is elsewhere, its motion the same."""

    slot: int
    offset: tuple[float, float]  # pixels


class Slide(NamedTuple):
    """One latent of the slot has another value; that of the frame before changes by as much."""

    slot: int
    dimension: int
    value: float


class Push(NamedTuple):
    """The slot is faster by a velocity, through the linear map from its dynamics."""

    slot: int
    velocity: tuple[float, float]  # pixels per frame


class Turn(NamedTuple):
    """One of the slot's dynamics has another value."""

    slot: int
    dimension: int
    value: float


class Follow(NamedTuple):
    """The slot keeps its look, and has the motion of another."""

    slot: int
    other: int


class Swap(NamedTuple):
    """Two slots are each in the other's place: the latents change hands, the motions stay."""

    slot: int
    other: int


Edit = Remove | Double | Move | Slide | Push | Turn | Follow | Swap
KINDS = {kind.__name__.lower(): kind for kind in (Remove, Double, Move, Slide, Push, Turn, Follow, Swap)}


class Change(NamedTuple):
    """From which frame on what is predicted, and what is changed there."""

    frame: int  # of the clip, from 1: dynamics need the one before
    num_steps: int  # 15, 31, 47 or 63
    relation: bool = True  # whether slots act on each other
    edits: tuple[Edit, ...] = ()


class Room(NamedTuple):
    """What a change may name."""

    num_frames: int
    num_slots: int
    latent_size: int
    dynamics_size: int
    background: bool = False  # slot 0 is the background's, see `ODDNConfig.background_slot`


HORIZONS = tuple(CHUNK * chunks - 1 for chunks in range(1, MOST_CHUNKS + 1))


def parse_change(record: Any, room: Room) -> Change:
    """Reads what a page sent, and checks all of it.

    Raises:
        ValueError: it is no change of this clip; one line says why.
    """
    if not isinstance(record, Mapping) or set(record) != set(Change._fields):
        raise ValueError(f"a change has the fields {', '.join(Change._fields)}")
    frame = _whole(record["frame"], "frame", 1, room.num_frames - 1)
    if record["num_steps"] not in HORIZONS or isinstance(record["num_steps"], bool):
        raise ValueError(f"num_steps must be one of {', '.join(map(str, HORIZONS))}")
    if not isinstance(record["relation"], bool):
        raise ValueError("relation must be true or false")
    edits = record["edits"]
    if not isinstance(edits, list) or len(edits) > MOST_EDITS:
        raise ValueError(f"edits must be a list of at most {MOST_EDITS}")
    numbered, parsed = room.num_slots, []  # slots and copies so far
    for edit in edits:
        parsed.append(_edit(edit, room, numbered))
        named = {parsed[-1].slot, getattr(parsed[-1], "other", parsed[-1].slot)}
        if room.background and 0 in named and not isinstance(parsed[-1], Slide):
            # The decoder draws whichever slot is the first as the background.
            raise ValueError(f"{edit['kind']}: slot 1 is the background, which stays what and where it is")
        if isinstance(parsed[-1], Double):
            numbered += 1
    if numbered > room.num_slots + MOST_DOUBLES:
        raise ValueError(f"at most {MOST_DOUBLES} copies can be made")
    removed = {edit.slot for edit in parsed if isinstance(edit, Remove)}
    if removed and len(removed) == numbered:
        raise ValueError("one slot must stay")
    for edit in parsed:
        if (
            not isinstance(edit, (Remove, Double))
            and {edit.slot, getattr(edit, "other", edit.slot)} & removed
        ):
            raise ValueError(
                f"{type(edit).__name__.lower()}: a slot that is removed cannot be changed otherwise"
            )
    return Change(frame, record["num_steps"], record["relation"], tuple(parsed))


def to_record(change: Change) -> dict[str, Any]:
    """The record that `parse_change` reads."""
    edits = [{"kind": type(edit).__name__.lower(), **edit._asdict()} for edit in change.edits]
    return {**change._asdict(), "edits": edits}


def _edit(record: Any, room: Room, numbered: int) -> Edit:
    named = record.get("kind") if isinstance(record, Mapping) else None
    kind = KINDS.get(named) if isinstance(named, str) else None
    if kind is None:
        raise ValueError(f"an edit is of one kind of {', '.join(KINDS)}")
    name = str(named)
    if set(record) != {"kind", *kind._fields}:
        raise ValueError(f"an edit of the kind {name} has the fields {', '.join(kind._fields)}")
    values: dict[str, Any] = {}
    for field in kind._fields:
        value = record[field]
        if field in ("slot", "other"):
            values[field] = _whole(value, f"{name}: {field}", 0, numbered - 1)
        elif field == "dimension":
            size = room.latent_size if kind is Slide else room.dynamics_size
            values[field] = _whole(value, f"{name}: {field}", 0, size - 1)
        elif field == "value":
            values[field] = _number(value, f"{name}: {field}")
        else:
            values[field] = _pair(value, f"{name}: {field}")
    return kind(**values)


def _whole(value: Any, name: str, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}")
    return value


def _number(value: Any, name: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{name} must be a number")
    if abs(value) > FARTHEST:
        raise ValueError(f"{name} must lie within {-FARTHEST:g} and {FARTHEST:g}")
    return float(value)


def _pair(value: Any, name: str) -> tuple[float, float]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise ValueError(f"{name} must be two numbers, x and y")
    return _number(value[0], name), _number(value[1], name)
