"""Annotations and proposals: what is read, and what is refused."""

import json

import numpy as np
import pytest

from data_pipelines.annotations import read_annotation, read_segmentation, sample_centres
from data_pipelines.json_files import read_json
from tests.data_pipelines.handmade import ATTRIBUTES, encode_mask, write_json

LABELS = {attributes: number + 1 for number, attributes in enumerate(ATTRIBUTES)}


def test_objects_are_looked_up_by_their_id(scene, tmp_path):
    write_json(tmp_path / "a.json", scene.annotation)
    annotation = read_annotation(tmp_path / "a.json")
    assert annotation.scene_index == 0
    assert annotation.video_filename == "video_00000.mp4"
    np.testing.assert_array_equal(annotation.object_id, [0, 1, 2])
    assert annotation.attributes == tuple(ATTRIBUTES)
    # Straight lines, see the scene: pixel columns over 60, minus 4.
    t = np.arange(128)
    np.testing.assert_allclose(annotation.location[:, 0, 0], (150 + 0.7 * t) / 60 - 4, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(annotation.location[:, 1, 1], (220 - 0.6 * t) / 60 - 2.6, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        annotation.velocity[5], [[0.7, 0.5, 0], [-0.4, -0.6, 0], [1.2, 0.1, 0]], rtol=1e-6
    )
    np.testing.assert_array_equal(annotation.inside_camera_view[:, :2], True)
    assert not annotation.inside_camera_view[0, 2]
    assert annotation.inside_camera_view[-1, 2]
    # By time, whatever their order in the file.
    np.testing.assert_array_equal(annotation.collision_frame, [32, 120])
    np.testing.assert_array_equal(annotation.collision_object_ids, [[0, 1], [2, 0]])
    np.testing.assert_array_equal(annotation.collision_location, np.float32([[0, 1, 0.2], [0.5, 0.25, 0.2]]))


def test_no_collision_is_no_error(scene, tmp_path):
    scene.annotation["collision"] = []
    write_json(tmp_path / "a.json", scene.annotation)
    annotation = read_annotation(tmp_path / "a.json")
    assert annotation.collision_frame.shape == (0,)
    assert annotation.collision_object_ids.shape == (0, 2)
    assert annotation.collision_location.shape == (0, 3)


def _drop_key(content):
    del content["motion_trajectory"]


def _drop_frame(content):
    del content["motion_trajectory"][50]


def _swap_frames(content):
    frames = content["motion_trajectory"]
    frames[3], frames[4] = frames[4], frames[3]


def _drop_object(content):
    del content["motion_trajectory"][7]["objects"][1]


def _object_twice(content):
    objects = content["motion_trajectory"][7]["objects"]
    objects.append(objects[0])


def _short_location(content):
    content["motion_trajectory"][7]["objects"][1]["location"] = [0.0, 1.0]


def _not_a_number(content):
    content["motion_trajectory"][7]["objects"][1]["velocity"] = [0.0, float("nan"), 0.0]


def _text_for_a_number(content):
    content["motion_trajectory"][7]["objects"][1]["velocity"] = [0.0, "fast", 0.0]


def _flag_as_text(content):
    content["motion_trajectory"][7]["objects"][1]["inside_camera_view"] = "yes"


def _unknown_color(content):
    content["object_property"][0]["color"] = "mauve"


def _twins(content):
    content["object_property"][0].update(zip(("color", "material", "shape"), ATTRIBUTES[0]))


def _id_twice(content):
    content["object_property"][0]["object_id"] = 0


def _collision_of_one(content):
    content["collision"][0]["object_ids"] = [1]


def _collision_of_a_stranger(content):
    content["collision"][0]["object_ids"] = [1, 9]


def _late_collision(content):
    content["collision"][0]["frame_id"] = 128


@pytest.mark.parametrize(
    "damage,said",
    [
        (_drop_key, "'motion_trajectory' is missing"),
        (_drop_frame, "127 entries"),
        (_swap_frames, "in order"),
        (_drop_object, "frame 7 "),
        (_object_twice, "frame 7 "),
        (_short_location, "three numbers"),
        (_not_a_number, "not finite"),
        (_text_for_a_number, "fast"),
        (_flag_as_text, "inside_camera_view"),
        (_unknown_color, "mauve"),
        (_twins, "same color"),
        (_id_twice, "twice"),
        (_collision_of_one, r"\[1\]"),
        (_collision_of_a_stranger, r"\[1, 9\]"),
        (_late_collision, "frame 128"),
    ],
)
def test_a_broken_annotation_is_named_in_one_line(scene, tmp_path, damage, said):
    damage(scene.annotation)
    write_json(tmp_path / "annotation_00000.json", scene.annotation)
    with pytest.raises(ValueError, match=said) as caught:
        read_annotation(tmp_path / "annotation_00000.json")
    assert "annotation_00000.json: " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"object_property": 3}', "\udcff"])
def test_what_is_no_annotation_is_refused(tmp_path, text):
    path = tmp_path / "annotation_00000.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    for read in (read_annotation, lambda path: read_segmentation(path, 128, 64, 64, True)):
        with pytest.raises(ValueError, match=r"annotation_00000\.json: ") as caught:
            read(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "size,samples,crop_to", [(320, 64, None), (480, 64, 320), (480, 96, None), (7, 3, None)]
)
def test_samples_lie_under_cell_centres(size, samples, crop_to):
    extent = crop_to or size
    left = (size - extent) / 2
    expected = [int(left + (cell + 0.5) * extent / samples) for cell in range(samples)]
    np.testing.assert_array_equal(sample_centres(size, samples, crop_to), expected)


@pytest.mark.parametrize("width,crop", [(64, True), (96, False)])
def test_labels_are_the_objects_of_the_annotation(scene, tmp_path, width, crop):
    write_json(tmp_path / "p.json", scene.proposal)
    segmentation = read_segmentation(tmp_path / "p.json", 128, 64, width, crop, LABELS)
    numbers = (scene.masks * np.arange(1, 4)[:, None, None]).max(axis=1)  # later discs are on top
    expected = numbers[:, 2::5, 2::5]
    if crop:
        expected = expected[:, :, 16:80]
    np.testing.assert_array_equal(segmentation.labels, expected)
    assert segmentation.labels.dtype == np.uint8
    assert segmentation.known.all()
    assert set(np.unique(segmentation.labels)) == {0, 1, 2, 3}


def _proposal(frames: dict[int, list[dict]]) -> dict:
    return {
        "video_index": 0,
        "frames": [{"frame_index": t, "objects": objects} for t, objects in frames.items()],
        "video_filename": "video_00000.mp4",
    }


def _detection(rows: slice, columns: slice, attributes, score: float | None) -> dict:
    mask = np.zeros((10, 15), bool)
    mask[rows, columns] = True
    entry = {"mask": encode_mask(mask), **dict(zip(("color", "material", "shape"), attributes))}
    return entry if score is None else entry | {"score": score}


def _paint(tmp_path, frames, num_frames, labels=None):
    write_json(tmp_path / "p.json", _proposal(frames))
    return read_segmentation(tmp_path / "p.json", num_frames, 10, 15, False, labels)


def test_the_surest_is_on_top(tmp_path):
    low = _detection(slice(0, 6), slice(0, 8), ATTRIBUTES[0], 0.7)
    high = _detection(slice(4, 9), slice(6, 12), ATTRIBUTES[1], 0.8)
    for order in ([low, high], [high, low]):
        labels = _paint(tmp_path, {0: order}, 1, LABELS).labels[0]
        assert (labels[4:9, 6:12] == 2).all()
        assert (labels[:4, :8] == 1).all()
        assert labels[9, 14] == 0


def test_of_two_equal_detections_the_surer_counts(tmp_path):
    unsure = _detection(slice(0, 2), slice(0, 2), ATTRIBUTES[0], 0.3)
    sure = _detection(slice(5, 8), slice(5, 8), ATTRIBUTES[0], 0.95)
    for order in ([unsure, sure], [sure, unsure]):
        labels = _paint(tmp_path, {0: order}, 1, LABELS).labels[0]
        assert (labels[5:8, 5:8] == 1).all()
        assert np.count_nonzero(labels) == 9


def test_without_annotation_labels_count_by_first_appearance(tmp_path):
    b = _detection(slice(0, 2), slice(0, 2), ATTRIBUTES[1], None)
    a = _detection(slice(4, 6), slice(4, 6), ATTRIBUTES[0], None)
    labels = _paint(tmp_path, {0: [b], 1: [a, b]}, 2).labels
    assert labels[0, 0, 0] == labels[1, 0, 0] == 1
    assert labels[1, 4, 4] == 2


def test_a_detection_of_no_annotated_object_gets_a_label_of_its_own(tmp_path):
    stranger = _detection(slice(0, 2), slice(0, 2), ("cyan", "metal", "cube"), 0.5)
    known = _detection(slice(4, 6), slice(4, 6), ATTRIBUTES[2], 0.9)
    labels = _paint(tmp_path, {0: [stranger, known]}, 1, LABELS).labels[0]
    assert (labels[0, 0], labels[4, 4]) == (4, 3)


def test_eight_detections_none_and_missing_frames(tmp_path):
    colors = ("gray", "red", "blue", "green", "brown", "yellow", "cyan", "purple")
    eight = [
        _detection(slice(0, 2), slice(n, n + 1), (color, "metal", "cube"), 0.9)
        for n, color in enumerate(colors)
    ]
    segmentation = _paint(tmp_path, {0: eight, 1: [], 3: eight[:1]}, 5)
    np.testing.assert_array_equal(segmentation.labels[0, 0, :9], [1, 2, 3, 4, 5, 6, 7, 8, 0])
    assert not segmentation.labels[[1, 2, 4]].any()
    np.testing.assert_array_equal(segmentation.known, [True, True, False, True, False])


def test_a_mask_that_does_not_fill_its_size_is_refused(tmp_path):
    broken = _detection(slice(0, 2), slice(0, 2), ATTRIBUTES[0], 0.9)
    broken["mask"]["size"] = [10, 16]
    with pytest.raises(ValueError, match=r"p\.json: .*10 x 16"):
        _paint(tmp_path, {0: [broken]}, 1)


def test_a_frame_beyond_the_video_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"p\.json: .*frame 5"):
        _paint(tmp_path, {5: []}, 5)


def test_fixture_is_in_the_real_format(scene):
    """What the other tests rest on: keys as in CLEVRER's README."""
    assert set(scene.annotation) == {
        "scene_index",
        "video_filename",
        "object_property",
        "motion_trajectory",
        "collision",
    }
    assert len(json.dumps(scene.proposal)) > 1000


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5000, b'{"frames": [NaN'])
def test_json_that_python_does_not_follow_is_one_line(tmp_path, content):
    """Brackets within brackets end Python's recursion, digits upon digits its integers."""
    path = tmp_path / "annotation_00000.json"
    path.write_bytes(content)
    for read in (read_annotation, lambda path: read_segmentation(path, 128, 64, 64, True), read_json):
        with pytest.raises(ValueError, match=r"annotation_00000\.json: not a JSON file \(.+\)") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_numbers_that_no_array_holds_are_one_line(scene, tmp_path):
    scene.annotation["scene_index"] = float("inf")
    write_json(tmp_path / "a.json", scene.annotation)
    with pytest.raises(ValueError, match=r"a\.json: cannot convert float infinity"):
        read_annotation(tmp_path / "a.json")


def test_a_label_that_does_not_fit_is_refused(tmp_path):
    stranger = _detection(slice(0, 2), slice(0, 2), ("cyan", "metal", "cube"), 0.5)
    with pytest.raises(ValueError, match=r"p\.json: there are more objects than the labels 1 to 255"):
        _paint(tmp_path, {0: [stranger]}, 1, {ATTRIBUTES[0]: 255})


def test_a_score_that_orders_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"p\.json: a score is nan"):
        _paint(tmp_path, {0: [_detection(slice(0, 2), slice(0, 2), ATTRIBUTES[0], float("nan"))]}, 1)
