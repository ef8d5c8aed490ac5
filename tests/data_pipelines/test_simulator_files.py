"""CLEVRER's files as the simulator writes them, read back by other means."""

import json

import av
import numpy as np
import pytest
from pycocotools import mask as coco
from scipy.spatial.transform import Rotation

from data_pipelines.simulator import CLEVRER, generate_scene, video_seed
from data_pipelines.simulator.clevrer_files import (
    ClevrerWriter,
    annotation,
    euler_angles,
    proposal,
    video_files,
    write_mp4,
)
from data_pipelines.simulator.videos import render

NUM_FRAMES = 90


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The files of one small video, with what they should hold."""
    root = tmp_path_factory.mktemp("clevrer")
    writer = ClevrerWriter(root, "validation", CLEVRER, 0, 64, 96, NUM_FRAMES, 2)
    assert not writer.is_finished(10_002)
    size = writer.write(10_002)
    assert writer.is_finished(10_002) and not writer.is_finished(10_001)
    files = video_files(root, "validation", 10_002)
    assert size == sum(path.stat().st_size for path in files)
    scene, trajectory = generate_scene(CLEVRER, video_seed(0, 10_002))
    video, segmentation = render(
        scene, trajectory, np.arange(NUM_FRAMES), height=64, width=96, supersampling=2
    )
    return files, scene, trajectory, video, segmentation


def read_mp4(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec.canonical_name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 25)
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])


def test_paths(written, tmp_path):
    files = written[0]
    assert [str(path).split("clevrer0/")[1] for path in files] == [
        "derender_proposals/proposal_10002.json",
        "annotations/validation/annotation_10000-11000/annotation_10002.json",
        "videos/validation/video_10000-11000/video_10002.mp4",
    ]
    last = video_files(tmp_path, "test", 19_999)
    assert last.annotation is None
    assert last.video.parent.name == "video_19000-20000"


def test_video_survives_compression(written):
    files, _, _, video, _ = written
    decoded = read_mp4(files.video)
    assert decoded.shape == video.shape == (NUM_FRAMES, 64, 96, 3)
    assert np.abs(decoded.astype(int) - video).mean() < 1.5


def test_full_size_video_survives_compression(tmp_path):
    scene, trajectory = generate_scene(CLEVRER, 1)
    video, _ = render(scene, trajectory, np.arange(58, 66), height=320, width=480, supersampling=1)
    write_mp4(tmp_path / "video.mp4", video)
    assert np.abs(read_mp4(tmp_path / "video.mp4").astype(int) - video).mean() < 1.5


def test_equal_frames_are_equal_bytes(written, tmp_path):
    # x264 with its default settings fails this: what other memory holds shows in its output.
    video = written[3]
    encoded = set()
    for attempt in range(6):
        write_mp4(tmp_path / "other.mp4", np.roll(video, attempt, axis=2))
        write_mp4(tmp_path / "video.mp4", video)
        encoded.add((tmp_path / "video.mp4").read_bytes())
    assert len(encoded) == 1


def test_annotation(written):
    files, scene, trajectory, _, _ = written
    content = json.loads(files.annotation.read_text())
    assert set(content) == {
        "scene_index",
        "video_filename",
        "object_property",
        "motion_trajectory",
        "collision",
    }
    assert content["scene_index"] == 10_002 and content["video_filename"] == "video_10002.mp4"
    assert [(p["object_id"], p["shape"], p["material"], p["color"]) for p in content["object_property"]] == [
        (thing.object_id, thing.shape, thing.material, thing.color) for thing in scene.objects
    ]
    frames = content["motion_trajectory"]
    assert [frame["frame_id"] for frame in frames] == list(range(NUM_FRAMES))
    count = len(scene.objects)
    for key, value in (
        ("object_id", np.tile(np.arange(count), (NUM_FRAMES, 1))),
        ("location", trajectory.location[:NUM_FRAMES]),
        ("velocity", trajectory.velocity[:NUM_FRAMES]),
        ("angular_velocity", trajectory.angular_velocity[:NUM_FRAMES]),
        ("inside_camera_view", trajectory.inside_camera_view[:NUM_FRAMES]),
    ):
        assert np.array_equal([[thing[key] for thing in frame["objects"]] for frame in frames], value)
    assert content["collision"]
    for collision in content["collision"]:
        assert set(collision) == {"object_ids", "frame_id", "location"}
        assert collision["frame_id"] < NUM_FRAMES and len(collision["object_ids"]) == 2
        state = trajectory.location[collision["frame_id"], collision["object_ids"]]
        assert 2 * 0.19 < np.linalg.norm(state[0] - state[1]) < 2 * 0.2 * 3**0.5
        assert np.allclose(collision["location"], state.mean(0), atol=0.1)


def test_a_whole_annotation_has_128_frames_and_only_visible_collisions():
    scene, trajectory = generate_scene(CLEVRER, 0)
    content = annotation(0, scene.objects, trajectory, 128)
    assert len(content["motion_trajectory"]) == 128
    assert 2 <= len(content["collision"]) <= 4 < len(trajectory.collisions)


# pycocotools and NumPy 2 disagree about __array__.
@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_proposals_decode_to_the_masks(written):
    files, scene, _, _, segmentation = written
    content = json.loads(files.proposal.read_text())
    assert set(content) == {"video_index", "video_filename", "frames"}
    assert content["video_index"] == 10_002
    assert [frame["frame_index"] for frame in content["frames"]] == list(range(NUM_FRAMES))
    kinds = {(thing.color, thing.material, thing.shape): thing.object_id for thing in scene.objects}
    for frame, mask in zip(content["frames"], segmentation):
        decoded = np.zeros_like(mask)
        for detection in frame["objects"]:
            assert set(detection) == {
                *("mask", "video_index", "frame_index"),
                *("color", "material", "shape", "score"),
            }
            assert detection["frame_index"] == frame["frame_index"] and detection["score"] == 1.0
            kind = (detection["color"], detection["material"], detection["shape"])
            assert detection["mask"]["size"] == [64, 96]
            decoded[coco.decode(detection["mask"]) == 1] = kinds[kind] + 1
        assert (decoded == mask).all()
    assert len(np.unique(segmentation)) >= 4


def test_frames_without_objects_have_no_proposals():
    scene, _ = generate_scene(CLEVRER, 0)
    content = proposal(7, scene.objects, np.zeros((2, 4, 4), np.uint8))
    assert [frame["objects"] for frame in content["frames"]] == [[], []]


def test_euler_angles():
    angles = np.random.default_rng(0).uniform(-1.4, 1.4, (20, 3))
    quaternions = Rotation.from_euler("xyz", angles).as_quat(scalar_first=True)
    assert np.allclose(euler_angles(quaternions), angles)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"height": 63}, "even height"),
        ({"seed": -1}, "a seed must be"),
        ({"num_frames": 129}, "1 to 128 frames; got 129"),
        ({"supersampling": 0}, "supersampling >= 1"),
    ],
)
def test_impossible_writers(tmp_path, changes, message):
    fields = {"seed": 0, "height": 64, "width": 96, "num_frames": 8, "supersampling": 1}
    with pytest.raises(ValueError, match=message):
        ClevrerWriter(tmp_path, "train", CLEVRER, **(fields | changes))
