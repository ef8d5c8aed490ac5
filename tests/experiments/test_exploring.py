"""What a change makes of a model's slots, beside the model's own methods; and what the simulator makes of it."""

import dataclasses
import functools
import io
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import oddn_jax
from data_pipelines.simulator import QUICKSTART
from experiments.exploring import belief, changes, counterfactual, imagination, keepsakes
from experiments.exploring.changes import (
    Change,
    Double,
    Follow,
    Move,
    Push,
    Remove,
    Room,
    Slide,
    Swap,
    Turn,
    parse_change,
    to_record,
)
from experiments.exploring.clips import recorded_clip, simulated_clip
from tests.experiments.discs import SIZE, decoded_discs
from tests.experiments.exploration import CHANGE, make_trained

ROOM = Room(num_frames=10, num_slots=3, latent_size=4, dynamics_size=4)
FRAME = 4
# Of slots to objects, as a perfect model's would be: slot 0 is the background's.
OBJECTS = {1: 0, 2: 1, 3: 2}


@pytest.fixture(scope="module")
def clip():
    """Scene 0: a red cube, a blue cylinder and a blue sphere, all in motion."""
    return simulated_clip(QUICKSTART, 0, 32, 32, 4)


@pytest.fixture(scope="module")
def thinker():
    trained = make_trained()
    return belief.Thinker(trained.model, trained.params)


@pytest.fixture(scope="module")
def believed(thinker):
    return thinker.believe(simulated_clip(QUICKSTART, 0, 16, 16, 4))


def edit(*edits, relation=True):
    return Change(FRAME, 15, relation, edits)


def rolled(thinker, latents, dynamics=None, use_relation=True):
    """The library's own rollout of two frames' latents."""
    options = dict(num_slots=latents.shape[1], use_relation=use_relation)
    model = oddn_jax.ODDN(dataclasses.replace(thinker.model.config, **options))
    dynamics = None if dynamics is None else jnp.asarray(dynamics)
    roll = jax.jit(functools.partial(model.apply, num_steps=15, method="rollout"))
    return roll(model.to_variables(thinker.params), jnp.asarray(latents), dynamics=dynamics)


def assert_imagined(imagined, rollout):
    np.testing.assert_allclose(imagined.rollout.latents, rollout.latents, atol=2e-5)
    frames = imagined.rollout.decoded.reconstruction
    np.testing.assert_allclose(frames, rollout.decoded.reconstruction, atol=2e-5)


def test_without_a_change_it_is_the_models_rollout(thinker, believed):
    imagined = imagination.imagine(thinker, believed, edit())
    assert_imagined(imagined, rolled(thinker, believed.seen.latents[FRAME - 1 : FRAME + 1]))
    np.testing.assert_allclose(
        imagined.decoded.reconstruction[0], believed.seen.decoded.reconstruction[FRAME], atol=2e-5
    )
    assert imagined.decoded.slot_masks.shape == (16, 3, 16, 16, 1)


def test_a_removed_slot_was_not_there(thinker, believed):
    imagined = imagination.imagine(thinker, believed, edit(Remove(1)))
    latents = believed.seen.latents[FRAME - 1 : FRAME + 1][:, [0, 2]]
    assert imagined.start.slots == (0, 2)
    assert_imagined(imagined, rolled(thinker, latents))


def test_slots_that_do_not_act_on_each_other(thinker, believed):
    latents = believed.seen.latents[FRAME - 1 : FRAME + 1]
    alone = rolled(thinker, latents, use_relation=False)
    assert np.abs(alone.latents - rolled(thinker, latents).latents).max() > 1e-4
    assert_imagined(imagination.imagine(thinker, believed, edit(relation=False)), alone)


def test_latents_and_dynamics_change_hands(thinker, believed):
    latents = believed.seen.latents[FRAME - 1 : FRAME + 1]
    dynamics = believed.seen.distillation.dynamics[FRAME - 1]
    start = functools.partial(imagination.begin, thinker, believed)
    swapped, followed = start(edit(Swap(0, 2))), start(edit(Follow(0, 2)))
    np.testing.assert_array_equal(swapped.latents, latents[:, [2, 1, 0]])
    np.testing.assert_allclose(swapped.dynamics, dynamics, atol=1e-5)
    np.testing.assert_array_equal(followed.latents, latents)
    np.testing.assert_allclose(followed.dynamics, dynamics[[2, 1, 2]], atol=1e-5)
    slid, turned = start(edit(Slide(1, 2, 0.5))), start(edit(Turn(1, 3, -1.5)))
    assert slid.latents[1, 1, 2] == np.float32(0.5)
    np.testing.assert_allclose(np.diff(slid.latents, axis=0), np.diff(latents, axis=0), atol=1e-6)
    wanted = dynamics.copy()
    wanted[1, 3] = -1.5
    np.testing.assert_allclose(turned.dynamics, wanted, atol=1e-5)
    copied = start(edit(Double(1, (0.0, 0.0)), Remove(0)))
    assert copied.slots == (1, 2, 3)
    np.testing.assert_array_equal(copied.latents, latents[:, [1, 2, 1]])


class Discs:
    """A thinker whose slots draw discs: the first two latents are a position, dynamics 1 and 3 a velocity."""

    remember = staticmethod(lambda key, compute: compute())
    decode = staticmethod(lambda latents: decoded_discs(latents[:, 1:, :2], np.zeros((latents.shape[1], 3))))


def test_a_slot_is_moved_to_where_it_was_dragged():
    latents = np.zeros((2, 3, 4), np.float32)
    latents[:, 1, :2], latents[:, 2, :2] = [[5, 8], [6, 8]], [[18, 12], [18, 12]]
    # Discs jump from pixel to pixel: soft ones, so that differences show where they go.
    y, x = np.mgrid[:SIZE, :SIZE]

    class Soft(Discs):
        @staticmethod
        def decode(latents):
            place = latents[..., :2, None, None]
            blobs = np.exp(-((x - place[..., 0, :, :]) ** 2 + (y - place[..., 1, :, :]) ** 2) / 8)
            return oddn_jax.Decoded(None, None, blobs[..., None], None)

    moved = imagination.moved(Soft, latents, 1, (3.0, 2.0))
    np.testing.assert_allclose(moved[:, 1, :2], [[8, 10], [9, 10]], atol=0.15)
    np.testing.assert_array_equal(moved[:, [0, 2]], latents[:, [0, 2]])
    np.testing.assert_array_equal(latents[:, 1, :2], [[5, 8], [6, 8]])


def test_a_push_is_the_least_change_of_the_numbers_that_goes_there():
    slope = np.array([[0.5, 0.0], [0.5, 0.0], [0.0, 2.0], [0.0, 0.0]])
    np.testing.assert_allclose(imagination.numbers_for(slope, (1.0, 1.0)), [1, 1, 0.5, 0], atol=1e-6)
    # What hardly moves it is left alone, and nothing is pushed beyond reason.
    slope[2] = 0, 0.01
    np.testing.assert_allclose(imagination.numbers_for(slope, (1.0, 1.0)), [1, 1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(imagination.numbers_for(slope, (40.0, 0.0)), [4, 4, 0, 0], atol=1e-6)


def test_the_slope_is_where_the_next_frame_shows_the_slot(thinker, believed):
    latents = believed.seen.latents[FRAME]
    dynamics = believed.seen.distillation.dynamics[FRAME - 1]
    slope = thinker.velocity_of_dynamics(latents, dynamics, 1, believed.spread)
    apply = functools.partial(thinker.model.apply, thinker.model.to_variables(thinker.params))

    def centre(numbers):
        following = apply(
            jnp.asarray(dynamics).at[1].set(numbers), jnp.asarray(latents), method="predict_latents"
        )
        mask = apply(following, method="decode").slot_masks[1, ..., 0]
        y, x = jnp.mgrid[:16, :16]
        return jnp.stack([(mask * x).sum(), (mask * y).sum()]) / mask.sum()

    exact = jax.jit(jax.jacobian(centre))(jnp.asarray(dynamics[1])).T
    np.testing.assert_allclose(slope, exact, atol=0.05 * np.abs(exact).max())


def test_slots_show_the_objects_that_they_share_most_with():
    truth = np.zeros((4, 8), np.uint8)
    truth[1:3, 0:2], truth[1:3, 4:6], truth[3, 6:] = 1, 2, 3
    segmentation = np.zeros((4, 8), int)
    segmentation[:, :3] = 2  # an object and much of the floor
    segmentation[:, 3:] = 1  # two objects: more than half of what it claims is the larger
    assert belief.objects_of_slots(segmentation, truth) == {2: 0, 1: 1}
    segmentation[1:3, 4:6] = 3
    assert belief.objects_of_slots(segmentation, truth) == {2: 0, 3: 1, 1: 2}


# ---- the record


def test_a_change_survives_its_way():
    change = Change(
        3, 31, False, (Double(1, (4.0, 0.0)), Push(3, (1.0, -1.0)), Follow(0, 3), Slide(2, 3, 0.5))
    )
    assert parse_change(to_record(change), ROOM) == change
    assert parse_change(CHANGE, ROOM) == Change(4, 15)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"frame": 0}, "frame must be a whole number from 1 to 9"),
        ({"frame": 10}, "frame must be"),
        ({"frame": True}, "frame must be"),
        ({"num_steps": 10**9}, "num_steps must be one of 15, 31, 47, 63"),
        ({"num_steps": [15]}, "num_steps must be one of"),
        ({"relation": 1}, "relation must be true or false"),
        ({"edits": [{}] * 65}, "at most 64"),
        ({"edits": "no"}, "edits must be a list"),
        ({"edits": [[]]}, "of one kind of remove, double"),
        ({"edits": [{"kind": ["remove"], "slot": 1}]}, "of one kind of remove"),
        ({"edits": [{"kind": "remove", "slot": 3}]}, "slot must be a whole number from 0 to 2"),
        ({"edits": [{"kind": "remove"}]}, "has the fields slot"),
        ({"edits": [{"kind": "remove", "slot": 1, "file": "/etc/passwd"}]}, "has the fields slot"),
        ({"edits": [{"kind": "remove", "slot": n} for n in range(3)]}, "one slot must stay"),
        ({"edits": [{"kind": "remove", "slot": 1}, {"kind": "swap", "slot": 0, "other": 1}]}, "is removed"),
        ({"edits": [{"kind": "push", "slot": 1, "velocity": [1]}]}, "velocity must be two numbers"),
        ({"edits": [{"kind": "push", "slot": 1, "velocity": ["1", 2]}]}, "velocity must be a number"),
        ({"edits": [{"kind": "push", "slot": 1, "velocity": [1e300, 2]}]}, "must lie within"),
        ({"edits": [{"kind": "turn", "slot": 1, "dimension": 4, "value": 0}]}, "from 0 to 3"),
        ({"edits": [{"kind": "double", "slot": 1, "offset": [1, 1]}] * 4}, "at most 3 copies"),
        ({"more": 1}, "a change has the fields frame, num_steps, relation, edits"),
    ],
)  # fmt: skip
def test_what_is_no_change_is_refused(fields, told):
    with pytest.raises(ValueError, match=told):
        parse_change(CHANGE | fields, ROOM)


def test_the_backgrounds_slot_stays_what_and_where_it_is():
    room = ROOM._replace(background=True)
    for change in (
        {"kind": "remove", "slot": 0},
        {"kind": "swap", "slot": 1, "other": 0},
        {"kind": "double", "slot": 0, "offset": [1, 1]},
    ):
        with pytest.raises(ValueError, match=f"{change['kind']}: slot 1 is the background"):
            parse_change(CHANGE | {"edits": [change]}, room)
    slid = {"kind": "slide", "slot": 0, "dimension": 1, "value": 0.5}
    assert parse_change(CHANGE | {"edits": [slid]}, room).edits == (Slide(0, 1, 0.5),)


# ---- what would really happen


def happens(clip, *edits, relation=True, objects=OBJECTS):
    return counterfactual.happens(clip, objects, 4, edit(*edits, relation=relation))


def centre_of(mask):
    y, x = np.nonzero(mask)
    return np.array([x.mean(), y.mean()])


def test_without_a_change_it_is_the_clip_going_on(clip):
    real = happens(clip)
    assert real.video.shape == (16, 32, 32, 3)
    np.testing.assert_array_equal(real.video[:6], clip.video[FRAME:])
    np.testing.assert_array_equal(real.segmentation[:6], clip.segmentation[FRAME:])


def test_a_removed_object_is_gone_and_the_others_are_there(clip):
    real = happens(clip, Remove(1))
    assert 1 in clip.segmentation[FRAME] and not (real.segmentation == 1).any()
    assert (real.segmentation == 2).any((1, 2)).all()


def test_a_pushed_object_goes_as_far_in_the_picture_as_it_was_pushed(clip):
    plain, pushed = happens(clip), happens(clip, Push(2, (2.0, 1.0)))
    np.testing.assert_array_equal(pushed.video[0], plain.video[0])
    way = centre_of(pushed.segmentation[1] == 2) - centre_of(plain.segmentation[1] == 2)
    np.testing.assert_allclose(way, [2, 1], atol=0.6)  # masks are whole pixels


def test_a_moved_object_is_where_it_was_dragged(clip):
    plain, moved = happens(clip), happens(clip, Move(3, (-2.0, 6.0)))
    way = centre_of(moved.segmentation[0] == 3) - centre_of(plain.segmentation[0] == 3)
    np.testing.assert_allclose(way, [-2, 6], atol=1.5)  # nearer to the camera it is larger
    np.testing.assert_array_equal(moved.segmentation[0] == 2, plain.segmentation[0] == 2)


def test_a_copy_comes_into_being_beside(clip):
    plain, pushed = happens(clip, copy := Double(3, (-12.0, 2.0))), happens(clip, copy, Push(4, (-2.0, 0.0)))
    way = centre_of(plain.segmentation[0] == 4) - centre_of(plain.segmentation[0] == 3)
    np.testing.assert_allclose(way, [-12, 2], atol=1.5)
    way = centre_of(pushed.segmentation[1] == 4) - centre_of(plain.segmentation[1] == 4)
    np.testing.assert_allclose(way, [-2, 0], atol=0.6)


def test_objects_take_each_others_motion(clip):
    now = FRAME * clip.stride
    swapped = happens(clip, Swap(1, 3), relation=False)
    speeds = clip.origin.trajectory.velocity[now, :, :2]
    ways = [
        centre_of(swapped.segmentation[2] == label) - centre_of(swapped.segmentation[0] == label)
        for label in (1, 3)
    ]
    along = [clip.origin.scene.camera.right @ [*speeds[i], 0] for i in (2, 0)]
    assert np.sign(ways[0][0]) == np.sign(along[0]) or abs(along[0]) < 0.1
    np.testing.assert_array_equal(
        happens(clip, Follow(1, 3), Follow(3, 1), relation=False).video, swapped.video
    )


@pytest.mark.parametrize(
    ("edits", "told"),
    [
        ([Slide(1, 0, 1.0)], "a change of what the model thinks"),
        ([Turn(1, 0, 1.0)], "model's own numbers"),
        ([Remove(0)], "slot 1 shows no object"),
        ([Double(3, (1.0, 0.0))], "no room: the blue rubber sphere and the blue rubber sphere"),
        ([Double(3, (-12.0, 2.0)), Double(4, (5.0, 0.0))], "a copy of a copy"),
        ([Move(3, (0.0, -4000.0))], "above the horizon"),
    ],
)
def test_what_has_no_counterpart_says_so(clip, edits, told):
    with pytest.raises(counterfactual.NoCounterpart, match=told):
        happens(clip, *edits)


def test_of_a_recording_nobody_knows(tmp_path):
    frames = [Image.new("RGB", (20, 20), (shade, 0, 0)) for shade in (0, 100, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    clip = recorded_clip(tmp_path / "a.gif", 16, 16, 1)
    assert clip.video.shape == (3, 16, 16, 3)
    with pytest.raises(counterfactual.NoCounterpart, match="nobody knows"):
        happens(clip)
    frames[0].save(tmp_path / "b.png")
    with pytest.raises(ValueError, match="has one frame only"):
        recorded_clip(tmp_path / "b.png", 16, 16, 1)


# ---- what is taken away


@pytest.mark.parametrize(
    "edits",
    [
        (),
        (Remove(0), Push(1, (1.0, 0.5))),
        (Double(2, (2.0, 1.0)), Swap(0, 3)),
        (Slide(1, 2, 0.5), Turn(0, 1, 1.0)),
    ],
    ids=["plain", "push", "copy", "slide"],
)
def test_the_lines_make_the_same_arrays(thinker, believed, tmp_path, monkeypatch, edits):
    clip = simulated_clip(QUICKSTART, 0, 16, 16, 4)
    change = edit(*edits, relation=len(edits) < 2)
    imagined = imagination.imagine(thinker, believed, change)
    path = str(tmp_path / "tiny.safetensors")
    oddn_jax.save(path, thinker.model.config, thinker.params)
    content = keepsakes.arrays(clip, believed.seen.latents, imagined, change, None)
    (tmp_path / "explored.npz").write_bytes(content)
    stored = np.load(io.BytesIO(content))
    text = keepsakes.lines(path, 3, change, imagined, believed.seen.latents)
    monkeypatch.chdir(tmp_path)
    names = types.SimpleNamespace(**_run(text))
    np.testing.assert_allclose(names.latents, stored["changed_latents"], atol=1e-6)
    np.testing.assert_allclose(names.predicted_latents, stored["predicted_latents"], atol=2e-5)
    np.testing.assert_allclose(names.predicted_frames, stored["predicted_frames"], atol=2e-5)
    assert changes.to_record(change)["edits"] == parse_kept(stored)["edits"]


def _run(text):
    names = {}
    exec(compile(text, "explored.py", "exec"), names)
    return {name: value for name, value in names.items() if name.isidentifier() and not name.startswith("_")}


def parse_kept(stored):
    return json.loads(str(stored["change"]), parse_float=float) | {
        "edits": [
            {name: tuple(value) if isinstance(value, list) else value for name, value in one.items()}
            for one in json.loads(str(stored["change"]))["edits"]
        ]
    }


def test_pictures_to_take_away(thinker, believed):
    clip = simulated_clip(QUICKSTART, 0, 16, 16, 4)
    imagined = imagination.imagine(thinker, believed, edit(Remove(0)))
    real = counterfactual.happens(clip, OBJECTS, 3, edit())
    still = Image.open(io.BytesIO(keepsakes.picture(clip, imagined.decoded, FRAME, real)))
    moving = Image.open(io.BytesIO(keepsakes.animation(clip, imagined.decoded, FRAME, real)))
    assert still.format == "PNG" and still.height > 6 * 96
    assert moving.format == "GIF" and moving.n_frames == 16
