"""Where predictions put the objects, against SciPy, by hand, and on clips that a model knows."""

import itertools

import numpy as np
import pytest
from scipy.ndimage import center_of_mass
from scipy.optimize import linear_sum_assignment

from experiments.evaluation import objects, summaries
from experiments.evaluation.scoring import Measured
from tests.experiments.discs import discs

OBSERVED, PREDICTED = 2, 5


def labels_of(positions):
    """Discs at positions [*b n 2] as label maps i[*b h w], 0 for the background."""
    return discs(positions)[..., 0].argmax(-3)


def overlaps(truth, slots, number):
    """Intersection over union, within the foreground, of all labels and slots below a number."""
    found = np.zeros((number, number))
    for label, slot in itertools.product(range(number), repeat=2):
        a, b = (truth == label) & (truth > 0), (slots == slot) & (truth > 0)
        found[label, slot] = (a & b).sum() / max((a | b).sum(), 1)
    return found


def followed(truth, slots, object_id=None, observed=OBSERVED):
    """The tracks of true label maps and slots' label maps of the same frames, both i[t h w]."""
    object_id = np.arange(truth.max()) if object_id is None else np.asarray(object_id)
    number = int(max(truth.max(), slots.max(), object_id.max(initial=0) + 1)) + 1
    overlap = overlaps(truth[observed - 1], slots[observed - 1], number)
    return objects.follow(truth, object_id, observed, overlap, slots[observed - 1], slots[observed:])


def paths(*velocities, start=((6, 6), (16, 16))):
    """Straight paths [t n 2]."""
    times = np.arange(OBSERVED + PREDICTED)[:, None, None]
    return np.asarray(start, float) + times * np.asarray(velocities, float)


MOVING = paths((1, 0.5), (-1, 0))


def scores_of(tracks):
    (scores,) = objects.scores([tracks], PREDICTED)
    return scores


# ------------------------------------------------------------------------------------------------ slots


def kept(slots, number=4):
    """Of objects 0 and 1, whose slots in each frame are given, i[t 2]; -1 for none."""
    overlap = np.zeros((len(slots), number, number))
    for t, n in np.argwhere(np.array(slots) >= 0):
        overlap[t, n + 1, slots[t][n]] = 0.9
    return objects.kept(overlap, np.array([0, 1, -1]))


@pytest.mark.parametrize(
    "slots, share",
    [
        ([(2, 3), (2, 3), (2, 3)], 1),
        ([(2, 3), (3, 2), (2, 3)], 0),  # they come back, but were not there
        ([(2, 3), (2, 1), (2, 1)], 0.5),
        ([(2, 3), (-1, 3), (2, 3)], 1),  # hidden for a while
        ([(2, 3), (2, 1), (2, -1)], 1),  # what has left does not count
    ],
)
def test_slots_kept(slots, share):
    assert kept(slots) == {"slot_kept": share}


def test_slots_kept_by_nobody():
    assert kept([(-1, 2), (1, -1)]) == {}


# ------------------------------------------------------------------------------------------------ places


def test_centres_are_scipys():
    labels = np.random.default_rng(0).integers(0, 6, (4, 9, 12))
    labels[2][labels[2] == 3] = 0
    found, area = objects.centres(labels, [1, 3, 5])
    for t, (n, label) in itertools.product(range(4), enumerate([1, 3, 5])):
        assert area[t, n] == (labels[t] == label).sum()
        if area[t, n]:
            y, x = center_of_mass(labels[t] == label)
            np.testing.assert_allclose(found[t, n], [x, y])
    assert np.isnan(found[2, 1]).all() and np.isfinite(np.delete(found, 2, axis=0)).all()


def test_slots_of_objects_are_those_of_the_best_assignment():
    random, matched = np.random.default_rng(0), 0
    for _ in range(50):
        truth = random.integers(0, 4, (3, 6))
        slots = np.where(random.random((3, 6)) < 0.25, random.integers(0, 4, (3, 6)), 3 - truth)
        overlap = overlaps(truth, slots, 4)
        of_objects = objects.own_slots(overlap, np.array([1, 2, 3]))
        rows, columns = linear_sum_assignment(np.where(overlap[1:] > 0.5, overlap[1:], 0), maximize=True)
        best = np.where(overlap[1:][rows, columns] > 0.5, columns, -1)
        np.testing.assert_array_equal(of_objects, best)
        taken = of_objects[of_objects >= 0]
        assert len(set(taken)) == len(taken)
        matched += len(taken)
    assert 20 < matched < 150


def test_perfect_masks_have_no_error_whatever_the_slots_are_called():
    truth = labels_of(MOVING)
    for order in itertools.permutations(range(3)):
        tracks = followed(truth, np.array(order)[truth])
        scores = scores_of(tracks)
        np.testing.assert_allclose(scores["predicted_centre_error"], 0, atol=1e-12)
        assert not scores["predicted_lost"].any()
        assert scores["copy_last_centre_error"][-1] == pytest.approx((5 + np.hypot(5, 2.5)) / 2, abs=0.2)


def test_slots_that_stay_are_a_copy():
    truth = labels_of(MOVING)
    scores = scores_of(followed(truth, truth[[0, 1, 1, 1, 1, 1, 1]]))
    for name in ("centre_error", "lost"):
        np.testing.assert_array_equal(scores[f"predicted_{name}"], scores[f"copy_last_{name}"])
    assert scores["copy_last_lost"].tolist() == [0, 0, 0, 0, 0]  # five pixels are less than the diameter
    # Two pixels a frame; the diameter is 6.1.
    far = labels_of(paths((2, 0), (2, 0), start=((4, 5), (4, 17))))
    assert scores_of(followed(far, far[[0, 1, 1, 1, 1, 1, 1]]))["copy_last_lost"].tolist() == [0, 0, 0, 1, 1]


def test_what_a_slot_adds_to_its_object_is_no_error():
    truth = labels_of(MOVING)
    with_shadow = np.maximum(truth, np.roll(truth, 1, axis=1))  # and the row below
    scores = scores_of(followed(truth, with_shadow))
    assert (scores["predicted_centre_error"] < 0.05).all()
    absolute = np.linalg.norm(objects.centres(with_shadow, [1])[0] - objects.centres(truth, [1])[0], axis=-1)
    assert (absolute > 0.4).all()


def test_scores_by_loops():
    """Noisy slots, an object that leaves, one that comes later, one that no slot has."""
    random = np.random.default_rng(1)
    start = ((5, 5), (17, 5), (5, 17), (17, 17))
    truth = labels_of(paths((0.5, 0), (1.2, 0), (0, 0), (0, 0.5), start=start))
    truth[4:][truth[4:] == 2] = 0  # object 1 has left
    truth[:3][truth[:3] == 3] = 0  # object 2 comes
    slots = truth.copy()
    slots[1][slots[1] == 4] = np.where(random.random((slots[1] == 4).sum()) < 0.5, 1, 2)
    slots[2:] = labels_of(paths((0.9, 0), (0.5, 0.5), (0, 0), (0, 0), start=start))[2:]
    slots[6][slots[6] == 1] = 0  # drawn no longer
    tracks = followed(truth, slots)
    other = followed(labels_of(MOVING), labels_of(MOVING))
    found, _ = objects.scores([tracks, other], PREDICTED)

    everywhere = []
    for clip in (truth, labels_of(MOVING)):
        for frame, label in itertools.product(range(2, 7), range(1, 5)):
            if (clip[frame] == label).any() and (clip[1] == label).any():
                everywhere.append(center_of_mass(clip[frame] == label))
    middle = np.mean(everywhere, axis=0)
    for step, frame in enumerate(range(2, 7)):
        errors, lost, copied, constant = [], [], [], []
        for label in (1, 2, 4):
            if not (truth[frame] == label).any():
                continue
            now, last = (np.array(center_of_mass(truth[t] == label)) for t in (frame, 1))
            said, is_drawn = last, label != 4 and (slots[frame] == label).any()
            if is_drawn:
                moves = [np.array(center_of_mass(slots[t] == label)) for t in (frame, 1)]
                said = last + moves[0] - moves[1]
            errors.append(np.linalg.norm(said - now))
            diameter = 2 * np.sqrt((truth[frame] == label).sum() / np.pi)
            lost.append(not is_drawn or errors[-1] > diameter)
            copied.append(np.linalg.norm(last - now))
            constant.append(np.linalg.norm(middle - now))
        assert found["predicted_centre_error"][step] == pytest.approx(np.mean(errors))
        assert found["predicted_lost"][step] == pytest.approx(np.mean(lost))
        assert found["copy_last_centre_error"][step] == pytest.approx(np.mean(copied))
        assert found["mean_place_centre_error"][step] == pytest.approx(np.mean(constant))
    assert found["predicted_lost"].tolist() == [1 / 3, 1 / 3, 1 / 2, 1 / 2, 1]


# ------------------------------------------------------------------------------------------------ degenerate clips


def test_a_clip_without_objects_has_no_scores():
    nothing = np.zeros((7, 8, 8), int)
    tracks = followed(nothing, np.ones_like(nothing), object_id=[-1, -1])
    assert scores_of(tracks) == {} and objects.turns(tracks, np.array([3]), np.array([[-1, -1]])) == []


def test_objects_out_of_view_do_not_count():
    truth = labels_of(MOVING)
    hidden = truth.copy()
    hidden[1][hidden[1] == 2] = 0  # not in the last observed frame
    one = labels_of(MOVING[:, :1])
    found, alone = (scores_of(followed(labels, labels)) for labels in (hidden, one))
    np.testing.assert_allclose(found["copy_last_centre_error"], alone["copy_last_centre_error"])
    hidden[5][hidden[5] == 1] = 0  # nobody is left in one frame
    assert scores_of(followed(hidden, hidden)) == {}


def test_masks_of_zero_are_lost_objects_and_so_are_shared_ones():
    truth = labels_of(MOVING)
    empty, shared = truth.copy(), truth.copy()
    empty[2:] = 0
    shared[1] = np.where(truth[1] > 0, 1 + np.arange(24) % 2, 0)  # each object is two slots' when last seen
    for slots in (empty, shared):
        scores = scores_of(followed(truth, slots))
        assert (scores["predicted_lost"] == 1).all()
        np.testing.assert_array_equal(scores["predicted_centre_error"], scores["copy_last_centre_error"])


def test_arrays_that_do_not_fit_are_refused():
    truth = labels_of(MOVING)
    with pytest.raises(ValueError, match=r"predicted slots \[4, 24, 24\] do not fit 5 frames of \[24, 24\]"):
        objects.follow(truth, np.array([0, 1]), OBSERVED, np.eye(3), truth[1], truth[3:])


# ------------------------------------------------------------------------------------------------ collisions


def bounce(after=((-1, 0), (1, 0)), at=4):
    """Two discs that move towards each other, touch between frames at - 1 and at, and move as told afterwards."""
    before = np.array([[1.0, 0.0], [-1.0, 0.0]])
    start = np.array([[4.0, 12.0], [19.0, 12.0]])
    times = np.arange(OBSERVED + PREDICTED)[:, None, None]
    touch = start + (at - 0.5) * before
    later = touch + (times - at + 0.5) * np.asarray(after, float)
    return np.where(times < at, start + times * before, later)


TOUCH = np.array([4, -1]), np.array([[1, 0], [-1, -1]])


@pytest.mark.parametrize(
    ("after", "right"),
    [
        (((-1, 0), (1, 0)), True),
        (((-0.5, 0.4), (0.5, -0.4)), True),  # changes by 15 degrees beside the true ones
        (((1, 0), (-1, 0)), False),  # as if there were no other
        (((1, 2), (1, 0)), False),  # one to the side
        (((2, 0), (-2, 0)), False),  # faster
    ],
)
def test_both_objects_have_to_turn(after, right):
    truth = labels_of(bounce())
    assert objects.turns(followed(truth, labels_of(bounce(after))), *TOUCH) == [right]
    assert objects.turns(followed(truth, truth[[0, 1, 1, 1, 1, 1, 1]]), *TOUCH) == [False]
    lost = labels_of(bounce())
    lost[5][lost[5] == 1] = 0
    assert objects.turns(followed(truth, lost), *TOUCH) == [False]


def test_collisions_that_tell_nothing_are_left_out():
    truth = labels_of(bounce())
    tracks = followed(truth, truth)
    pair = TOUCH[1][:1]
    for frame in (0, 1, 6, -1):  # observed, the last frame, none
        assert objects.turns(tracks, np.array([frame]), pair) == []
    gentle = labels_of(bounce(((0.9, 0), (-0.9, 0))))
    assert objects.turns(followed(gentle, gentle), *TOUCH) == []
    hidden = truth.copy()
    hidden[5][hidden[5] == 1] = 0
    assert objects.turns(followed(hidden, truth), *TOUCH) == []
    assert objects.turns(objects.follow(truth, np.array([0, 1]), OBSERVED), *TOUCH) == []  # no slots
    assert objects.turns(followed(labels_of(bounce(at=2)), labels_of(bounce(at=2))), np.array([2]), pair) == [
        True
    ]


# ------------------------------------------------------------------------------------------------ kinds of clips


def measured(distances, collides, turns):
    rows = [
        {"predicted_mse": np.full(2, far), "mse": np.float64(1), "predicted_lost": np.zeros(2)}
        | ({"copy_last_centre_error": np.array([far, 3 * far])} if far else {})
        for far in distances
    ]
    return Measured(rows, turns, collides, None, True)


def test_scores_by_kind_of_clip():
    found = summaries.by_clip(
        measured([1.0, 4.0, 2.0, 3.0, 0.0], [True, False, False, None, None], [[True], [], [], [False], []])
    )
    means = {kind: scores["predicted_mse"]["mean"] for kind, scores in found.items()}
    assert means == {
        "with_collision": [1, 1],
        "without_collision": [3, 3],
        "moving": [3.5, 3.5],
        "still": [1.5, 1.5],
    }
    turned = {
        kind: (scores["collision_turns"]["mean"], scores["collision_turns"]["n"])
        for kind, scores in found.items()
    }
    assert turned == {
        "with_collision": (1, 1),
        "without_collision": (None, 0),
        "moving": (0, 1),
        "still": (1, 1),
    }
    assert "mse" not in found["moving"]
    assert set(summaries.by_clip(measured([0.0], [None], [[]]))) == set()


def test_a_model_that_predicts_nothing_has_no_kinds():
    assert summaries.by_clip(Measured([{"mse": np.float64(1)}], [[]], [True], None, True)) == {}
