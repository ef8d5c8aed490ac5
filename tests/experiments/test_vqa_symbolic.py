"""Scenes read off slots by linear probes, against the simulator's truth."""

import itertools

import numpy as np
import pytest

from data_pipelines.annotations import COLORS, MATERIALS, SHAPES
from data_pipelines.simulator import QUICKSTART, generate_scene, video_seed
from data_pipelines.simulator.questions.executor import execute
from data_pipelines.simulator.questions.generation import question_scenes
from data_pipelines.simulator.questions.truth import trajectory_truth
from experiments.vqa import scenes
from experiments.vqa.labels import Labelled
from experiments.vqa.scenes import Reader, Tracks

STRIDE, NUM_SLOTS, SIZE = 4, 5, 24


def simulate(index):
    """A quickstart scene in stored frames: its truth, and a video of slots that hold it linearly, in a shuffled order
    that changes in the middle; slot 0 is the background's, the last two objects' slots may be empty."""
    objects, trajectory = generate_scene(QUICKSTART, video_seed(0, index))
    frames = np.arange(0, QUICKSTART.num_frames, STRIDE)
    stored = trajectory._replace(
        location=trajectory.location[frames],
        velocity=trajectory.velocity[frames],
        inside_camera_view=np.ones((len(frames), len(objects.objects)), bool),
        collisions=tuple(
            hit._replace(frame_id=-(-hit.frame_id // STRIDE))
            for hit in trajectory.collisions
            if hit.frame_id <= frames[-1]
        ),
    )
    truth = trajectory_truth(objects.objects, stored, (), len(frames))
    number = len(truth.attributes)
    ids = np.array(
        [
            [names.index(name) for names, name in zip((COLORS, MATERIALS, SHAPES), of_object)]
            for of_object in truth.attributes
        ]
    )
    known = np.concatenate(
        [np.eye(len(names))[column] for names, column in zip((COLORS, MATERIALS, SHAPES), ids.T)], 1
    )
    random = np.random.default_rng(index)
    slots, overlap = np.zeros((len(frames), NUM_SLOTS, SIZE)), np.zeros((len(frames), NUM_SLOTS, NUM_SLOTS))
    mixing = np.random.default_rng(99).normal(size=(known.shape[1] + 3, SIZE))
    order = 1 + random.permutation(NUM_SLOTS - 1)
    for frame in range(len(frames)):
        if frame == 5:
            order = 1 + random.permutation(NUM_SLOTS - 1)
        held = np.concatenate([known, np.ones((number, 1)), stored.location[frame, :, :2]], 1) @ mixing
        slots[frame, order[:number]] = held + random.normal(0, 0.02, held.shape)
        slots[frame, order[number:]] = random.normal(0, 0.02, (NUM_SLOTS - 1 - number, SIZE))
        overlap[frame, 1 + np.arange(number), order[:number]] = 1
    location, velocity = stored.location[..., :2], stored.velocity[..., :2]
    labelled = Labelled(slots, overlap, np.arange(number), ids, location, velocity, truth.collisions)
    return truth, labelled


@pytest.fixture(scope="module")
def simulated():
    return [simulate(index) for index in range(60)]


@pytest.fixture(scope="module")
def reader(simulated):
    return Reader([labelled for _, labelled in simulated[:40]], has_background=True)


def test_scenes_are_read_off_slots_that_hold_them(simulated, reader):
    hits = said = true = 0
    for truth, labelled in simulated[40:]:
        found = reader.scene(labelled.slots)
        tracks = reader.follow(labelled.slots)
        of_track = scenes.match(tracks, labelled.location)
        assert sorted(of_track) == list(range(len(truth.attributes)))
        assert [found.attributes[n] for n in np.argsort(of_track)] == list(truth.attributes)
        assert found.inside_camera_view.all() and found.num_frames == truth.num_frames == 10
        pairs = {(frame, frozenset(int(of_track[n]) for n in pair)) for frame, pair in found.collisions}
        expected = {(frame, frozenset(pair)) for frame, pair in truth.collisions if frame > 1}
        hits += len(pairs & expected)
        said, true = said + len(pairs), true + len(expected)
    assert true > 10 and hits > 0.6 * true and hits > 0.6 * said


def test_programs_answer_on_scenes_that_were_read(simulated, reader):
    truths = [(index, truth) for index, (truth, _) in enumerate(simulated[40:])]
    right = asked = 0
    for scene in question_scenes(truths, 0):
        read = reader.scene(simulated[40 + scene["scene_index"]][1].slots)
        for question in scene["questions"]:
            if question["question_type"] != "descriptive":
                continue
            asked += 1
            try:
                right += execute(question["program"], read) == question["answer"]
            except ValueError:
                pass
    assert asked > 100 and right > 0.8 * asked


def test_slots_are_followed_through_other_orders():
    random = np.random.default_rng(0)
    whole = random.normal(size=(1, 4, 3)) + 0.05 * random.normal(size=(6, 4, 3)).cumsum(0)
    mixed = np.stack([frame[random.permutation(4)] for frame in whole])
    followed = scenes.follow_slots(mixed)
    first = [int(np.abs(whole[0] - slot).sum(-1).argmin()) for slot in followed[0]]
    np.testing.assert_allclose(followed, whole[:, first])


def test_peaks():
    assert scenes.peaks(np.array([0.9, 0.1, 0.6, 0.8, 0.8, 0.2, 0.4, 0.3])) == [0, 3]
    assert scenes.peaks(np.full(4, 0.5)) == [] and scenes.peaks(np.array([0.2, 0.9])) == [1]


def test_tracks_stand_for_what_is_near():
    location = np.zeros((2, 3, 2))
    location[:, 1] = [5, 0]
    location[:, 2] = [0, 5]
    tracks = Tracks(np.zeros((2, 3), int), location[:, [2, 1]] + [[[0.1, 0], [0, 1]]], np.ones((2, 2), bool))
    assert scenes.match(tracks, location).tolist() == [2, -1]


def test_two_slots_of_one_object_are_one(simulated, reader):
    for _, labelled in simulated[40:50]:
        alone = reader.follow(labelled.slots)
        shared = np.concatenate([labelled.slots, labelled.slots[:, 1:]], 1)  # each object and nothing twice
        twice = reader.follow(shared)
        assert len(twice.attributes) == len(alone.attributes)
        assert {tuple(row) for row in twice.attributes} == {tuple(row) for row in alone.attributes}


def test_nothing_to_learn_from_is_said(simulated, capsys):
    video = simulated[0][1]
    with pytest.raises(ValueError, match="no slot shows an object"):
        Reader([video._replace(overlap=np.zeros_like(video.overlap))], has_background=True)
    only = video._replace(overlap=np.where(np.arange(5)[:, None] == 1, video.overlap, 0))
    alone = Reader([only], has_background=True).scene(video.slots)
    assert "no motion and no collision is read" in capsys.readouterr().err
    assert not alone.collisions and not alone.moving.any()


def test_an_object_is_in_view_between_its_first_and_last_frame():
    shown = np.array([False, True, False, False, True, False])
    assert scenes._between(shown).tolist() == [False, True, True, True, True, False]
    assert not scenes._between(np.zeros(3, bool)).any()
    assert all(
        scenes._between(np.array(flags)).sum() >= sum(flags)
        for flags in itertools.product([False, True], repeat=4)
    )
