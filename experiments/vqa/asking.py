"""Answers to questions about one video: what a reasoner says, how sure it is, and what it looked at."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines import clips
from experiments.machine import compiled
from experiments.runs.trained import Trained
from experiments.vqa import extraction
from experiments.vqa.questions import QUESTION_TYPES
from experiments.vqa.reasoner import Reasoner, standardization
from oddn_jax.reasoning import ALOE, Answer, slots
from oddn_jax.reasoning.vocabulary import ANSWERS, CHOICE_LENGTH, encode_choice, encode_question

# Words of the questions that are answered by choices: "Which of the following is responsible for ...", "What will
# happen next?", "Without ..., which event will happen?". No descriptive question has one of them.
CHOICE_WORDS = frozenset(("responsible", "will"))
EXAMPLES = (  # of every kind, as they are asked about simulated scenes
    "How many objects are moving when the video ends?",
    "How many stationary objects are there when the video begins?",
    "How many collisions happen?",
    "How many objects enter the scene?",
    "Are there any moving rubber objects when the video ends?",
    "Are there any collisions that happen?",
    "What is the color of the moving object when the video begins?",
    "What shape is the object to collide with the cube?",
    "Which of the following is responsible for the collision between the cube and the sphere?",
    "What will happen next?",
    "Without the cube, which event will happen?",
)


class Question(NamedTuple):
    """A question as it was put, and its words as numbers."""

    text: str
    words: np.ndarray  # i32[20]
    choices: tuple[str, ...]  # none of a descriptive question
    choice_words: np.ndarray  # i32[c 12]


class Watched(NamedTuple):
    """What a reasoner reads of a video: n frames, k slots in the order that their content gives."""

    frames: np.ndarray  # i64[n], places in the video
    latents: np.ndarray  # f32[n k l]
    slots: np.ndarray  # f32[n k d], of roughly unit scale


class Reply(NamedTuple):
    """The answer to a question. Probabilities are the reasoner's own."""

    question: Question
    answers: list[tuple[str, float]]  # of a descriptive question, the likeliest first
    choices: list[float]  # that each choice is correct
    attention: np.ndarray  # f32[n k], of the token that is read on each slot; the mean over choices


def parse(texts: Sequence[str], choices: Sequence[str] = ()) -> list[Question]:
    """Understands questions; those that are answered by choices all get the same.

    Raises:
        ValueError: a word is unknown, there are too many, or choices are missing or not wanted.
    """
    encoded = np.array([encode_choice(choice) for choice in choices], np.int32).reshape(-1, CHOICE_LENGTH)
    for text, words in zip((*texts, *choices), (*map(encode_question, texts), *encoded)):
        if not words.any():
            raise ValueError(f"{text!r} has no words")
    questions = []
    for text in texts:
        words = encode_question(text)
        if not CHOICE_WORDS & set(text.lower().replace("?", "").split()):
            questions.append(Question(text, words, (), encoded[:0]))
        elif choices:
            questions.append(Question(text, words, tuple(choices), encoded))
        else:
            raise ValueError(
                f"{text!r} is answered by choices: give some, as --choice='The cube and the sphere collide'"
            )
    if choices and not any(question.choices for question in questions):
        raise ValueError(
            "--choice is for questions of what is responsible or what will happen: none of these is"
        )
    return questions


def watch(reasoner: Reasoner, found: Trained, video: np.ndarray) -> Watched:
    """What the reasoner reads of a video u8[t h w 3], as its model sees it.

    Raises:
        ValueError: the video has fewer frames than are read.
    """
    reads, config = reasoner.reads, reasoner.model.config
    if reads.frame_stride:
        wanted = (config.num_frames - 1) * reads.frame_stride + 1
    else:
        wanted = config.num_frames
    if len(video) < wanted:
        raise ValueError(
            f"the reasoner reads {wanted} frames, the video has {len(video)} that far from each other: "
            "--stride=1 takes more of a video"
        )
    gap = clips.stored_gap(reads.stride, reads.source_stride)
    seen = {name: values[0] for name, values in extraction.look_at(found, gap, video[None], [0]).items()}
    names = ("latents", "dynamics") if reads.features == "both" else (reads.features,)
    numbers = np.concatenate([seen[name] for name in names], -1)
    numbers = standardization(reads)(numbers)
    places = jnp.arange(len(video), dtype=jnp.float32)[:, None, None]  # chosen as slots are
    places = slots.evaluation_frames(places, config.num_frames, reads.frame_stride)
    frames = np.asarray(places[:, 0, 0]).astype(int)
    order = np.asarray(slots.order_by_content(jnp.asarray(numbers[frames]), config.background_slot))
    return Watched(frames, seen["latents"][frames][:, order], numbers[frames][:, order])


def reply(reasoner: Reasoner, watched: Watched, question: Question) -> Reply:
    """What the reasoner answers."""
    choices = question.choice_words if question.choices else np.zeros((1, CHOICE_LENGTH), np.int32)
    said = [
        jax.device_get(_read(reasoner.model, reasoner.params, watched.slots, question.words, choice))
        for choice in choices
    ]
    attention = np.mean([answer.attention for answer in said], 0)
    if question.choices:
        return Reply(question, [], [float(jax.nn.sigmoid(answer.choice_logit)) for answer in said], attention)
    shares = np.asarray(jax.nn.softmax(said[0].answer_logits[1:]))
    ranked = np.argsort(-shares, kind="stable")
    return Reply(question, [(ANSWERS[place], float(shares[place])) for place in ranked], [], attention)


def describe(reply: Reply) -> list[str]:
    """An answer as people read it, with the runner-up where the answer is a word."""
    lines = [reply.question.text]
    if reply.question.choices:
        for choice, share in zip(reply.question.choices, reply.choices):
            lines.append(f"  {'yes' if share > 0.5 else 'no':<8} {share:4.0%}  {choice}")
    else:
        (best, sure), (second, share) = reply.answers[:2]
        lines.append(f"  {best:<8} {sure:4.0%}  (then {second}, {share:.0%})")
    return lines


def record(reasoner: Reasoner, replies: list[Reply]) -> dict[str, Any]:
    """The answers as JSON holds them, with what they are worth."""
    answers = []
    for reply in replies:
        entry: dict[str, Any] = {"question": reply.question.text}
        if reply.question.choices:
            entry["choices"] = [
                {"choice": choice, "is_correct": share > 0.5, "probability": share}
                for choice, share in zip(reply.question.choices, reply.choices)
            ]
        else:
            entry["answer"] = reply.answers[0][0]
            entry["probabilities"] = dict(reply.answers)
        answers.append(entry)
    known = reasoner.trained_on
    facts = {name: known[name] for name in ("questions", "simulated", "num_train_videos", "scores")}
    return {"answers": answers, "reasoner": reasoner.name, "model": reasoner.reads.model, "trained_on": facts}


def account(reasoner: Reasoner) -> str:
    """What the reasoner was trained on, and how often it is right on videos that it has not seen."""
    known = reasoner.trained_on
    simulated = ", *simulated*" if known["simulated"] else ""
    right = ", ".join(
        f"{entry['per_question']:.0%} of the {kind}"
        for kind, entry in known["scores"].items()
        if kind in QUESTION_TYPES
    )
    return (
        f"by {reasoner.name}, trained on {known['num_train_videos']} videos of {known['questions']}{simulated}, "
        f"where it answers {right} questions"
    )


@compiled.jit(static_argnums=0)
def _read(model: ALOE, params: Any, seen: jax.Array, question: jax.Array, choice: jax.Array) -> Answer:
    return model.apply({"params": params}, seen, question, choice)
