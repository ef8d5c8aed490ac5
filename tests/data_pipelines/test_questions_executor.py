"""Programs against answers worked out by hand on a small made-up scene, and refusals."""

import json
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.simulator.questions.executor import (
    SIGNATURES,
    Event,
    UnanswerableError,
    check_program,
    execute,
    unseen_events,
    video_events,
)
from data_pipelines.simulator.questions.truth import SceneTruth, read_truth, write_truth

REAL_QUESTIONS = Path(__file__).parents[2].parent / "shared" / "data" / "clevrer_questions_train_sample.json"
RED_CUBE, BLUE_CUBE, RED_SPHERE, GRAY_SPHERE = "red cube", "blue cube", "red sphere", "gray sphere"


@pytest.fixture
def truth() -> SceneTruth:
    """Ten frames of video and five after it; object 3 is never seen during the video.

    0 red cube: there at rest, hit at 4, moves until 7. 1 blue cube: enters at 2, moving, leaves at 8. 2 red sphere:
    enters at 5 and hits object 0 at 6; objects 0 and 2 meet again at 12. Without 1, 0 and 2 meet; without 0, nothing
    happens; without 2, 0 and 1 meet.
    """
    inside = np.zeros((15, 4), bool)
    inside[:, 0] = True
    inside[2:8, 1] = True
    inside[5:, 2] = True
    inside[11:, 3] = True
    moving = np.zeros((15, 4), bool)
    moving[4:8, 0] = True
    moving[:10, 1] = True
    moving[3:13, 2] = True
    return SceneTruth(
        attributes=(
            ("red", "metal", "cube"),
            ("blue", "rubber", "cube"),
            ("red", "metal", "sphere"),
            ("gray", "rubber", "sphere"),
        ),
        num_frames=10,
        inside_camera_view=inside,
        moving=moving,
        collisions=((4, (0, 1)), (6, (0, 2)), (12, (0, 2))),
        counterfactual=(frozenset(), frozenset({(0, 2)}), frozenset({(0, 1)}), frozenset({(0, 1), (0, 2)})),
    )


def named(name: str) -> str:
    color, shape = name.split()
    return f"objects {color} filter_color {shape} filter_shape unique"


ENTERS = f"events {named(RED_SPHERE)} filter_in unique"
MEET_01 = f"{named(RED_CUBE)} filter_collision {named(BLUE_CUBE)} filter_collision unique"
MEET_02 = f"{named(RED_CUBE)} filter_collision {named(RED_SPHERE)} filter_collision unique"
MEET_12 = f"{named(BLUE_CUBE)} filter_collision {named(RED_SPHERE)} filter_collision unique"


@pytest.mark.parametrize(
    "program, answer",
    [
        ("objects count", "3"),
        ("objects red filter_color count", "2"),
        ("objects rubber filter_material cube filter_shape count", "1"),
        ("objects gray filter_color exist", "no"),
        ("objects null filter_moving count", "3"),
        ("objects null filter_stationary exist", "no"),
        ("objects start get_frame filter_moving count", "0"),
        ("objects start get_frame filter_stationary count", "1"),
        ("objects end get_frame filter_moving unique query_shape", "sphere"),
        (f"objects {ENTERS} get_frame filter_moving count", "3"),
        ("events objects filter_in count", "2"),
        ("events objects filter_out unique get_object query_color", "blue"),
        (f"events {named(RED_CUBE)} filter_in exist", "no"),
        ("events objects filter_collision count", "2"),
        (f"events {ENTERS} filter_before objects filter_collision count", "1"),
        (f"events {ENTERS} filter_after objects filter_collision count", "1"),
        (f"events {ENTERS} filter_after objects filter_out exist negate", "no"),
        (f"events {ENTERS} filter_before objects filter_in count", "1"),
        (f"events {ENTERS} filter_after objects filter_in count", "0"),
        ("events objects filter_in first filter_order get_object query_color", "blue"),
        ("events objects filter_in second filter_order get_object query_material", "metal"),
        ("events objects filter_in last filter_order get_object query_shape", "sphere"),
        (
            f"events {named(RED_CUBE)} filter_collision last filter_order {named(RED_CUBE)} "
            "get_col_partner query_shape",
            "sphere",
        ),
        # The collision at 4 comes before that at 6 for object 0; the exit of 1 at 8 is caused by the first only.
        (f"events {MEET_01} events events {MEET_02} filter_ancestor belong_to", "yes"),
        (f"events {MEET_02} events events {MEET_01} filter_ancestor belong_to", "no"),
        (f"{named(BLUE_CUBE)} events events {MEET_02} filter_ancestor belong_to", "yes"),
        (f"{named(RED_SPHERE)} events events {MEET_01} filter_ancestor belong_to negate", "yes"),
        (
            f"events {MEET_01} events events {named(BLUE_CUBE)} filter_out unique filter_ancestor belong_to",
            "yes",
        ),
        (
            f"events {MEET_02} events events {named(BLUE_CUBE)} filter_out unique filter_ancestor belong_to",
            "no",
        ),
        (f"all_events {MEET_02} unseen_events belong_to", "yes"),
        (f"all_events {MEET_01} unseen_events belong_to", "no"),
        ("all_events count", "3"),
        (f"all_events {MEET_02} all_events {named(BLUE_CUBE)} get_counterfact belong_to", "yes"),
        (f"all_events {MEET_02} all_events {named(RED_CUBE)} get_counterfact belong_to", "no"),
        (f"all_events {MEET_12} all_events {named(BLUE_CUBE)} get_counterfact belong_to negate", "yes"),
    ],
)
def test_answers(truth, program, answer):
    check_program(program.split())
    assert execute(program.split(), truth) == answer


def test_every_word_but_some_attributes_is_tested_above():
    tested = {word for mark in test_answers.pytestmark for case in mark.args[1] for word in case[0].split()}
    assert len(SIGNATURES) == 47
    attributes = {"brown", "cyan", "green", "purple", "yellow", "metal", "cylinder"}
    assert set(SIGNATURES) - tested <= attributes


def test_events(truth):
    assert video_events(truth) == [
        Event("in", 2, (1,)),
        Event("collision", 4, (0, 1)),
        Event("in", 5, (2,)),
        Event("collision", 6, (0, 2)),
        Event("out", 8, (1,)),
    ]
    assert unseen_events(truth) == [Event("collision", 12, (0, 2))]


def test_entering_comes_before_a_collision_of_the_same_frame(truth):
    truth = truth._replace(collisions=((5, (0, 2)),))
    assert [event.kind for event in video_events(truth) if event.frame == 5] == ["in", "collision"]


@pytest.mark.parametrize(
    "program",
    [
        "objects red filter_color unique query_shape",
        "events objects filter_out second filter_order get_object query_shape",
        f"events {MEET_12} get_frame",
        f"events objects filter_collision first filter_order {named(RED_SPHERE)} get_col_partner query_color",
        "events objects filter_collision first filter_order get_object query_color",
    ],
)
def test_what_the_scene_does_not_answer(truth, program):
    with pytest.raises(UnanswerableError):
        execute(program.split(), truth)


def test_unknown_counterfactuals(truth):
    program = f"all_events {named(RED_CUBE)} get_counterfact count".split()
    with pytest.raises(UnanswerableError, match="unknown"):
        execute(program, truth._replace(counterfactual=()))


@pytest.mark.parametrize(
    "program, reason",
    [
        ("", "ends in nothing"),
        ("objects", "ends in objects"),
        ("objects count count", "word 3 of the program, 'count', needs objects or events"),
        ("count", "word 1 of the program, 'count', needs objects or events"),
        ("objects pink filter_color count", "unknown word 'pink'"),
        ("objects red filter_shape count", "'filter_shape', needs objects and shape"),
        ("objects unique get_frame", "'get_frame', needs event"),
        ("objects count objects count", "ends in answer and answer"),
    ],
)
def test_unsound_programs(program, reason):
    with pytest.raises(ValueError, match=reason):
        check_program(program.split())


def test_truths_survive_their_file(truth, tmp_path):
    path = tmp_path / "truth.json"
    write_truth(path, truth)
    again = read_truth(path)
    for name in ("inside_camera_view", "moving"):
        np.testing.assert_array_equal(getattr(again, name), getattr(truth, name))
        again = again._replace(**{name: None})
        truth = truth._replace(**{name: None})
    assert again == truth
    content = json.loads(path.read_text())
    for broken in (
        "[]",
        "{",
        "[" * 100_000,
        json.dumps(content | {"attributes": [["pink", "metal", "cube"]] * 4}),
    ):
        path.write_text(broken)
        with pytest.raises(ValueError, match=r"truth\.json: not the truth"):
            read_truth(path)


@pytest.mark.skipif(not REAL_QUESTIONS.exists(), reason="needs the sample of real questions")
def test_real_programs_are_sound():
    scenes = json.loads(REAL_QUESTIONS.read_text())
    checked = 0
    for question in (question for scene in scenes.values() for question in scene["questions"]):
        for choice in question["choices"]:
            check_program(choice["program"] + question["program"])
            checked += 1
    assert checked > 2000
