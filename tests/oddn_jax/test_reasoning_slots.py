"""Which frames and in which order a reasoner sees a video's slots, and which of them are hidden."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oddn_jax.reasoning import slots


def test_frames_of_training_and_evaluation():
    video = jnp.arange(128.0)[:, None, None]
    frames = slots.evaluation_frames(video, 25, 5)[:, 0, 0]
    np.testing.assert_array_equal(frames, np.arange(0, 125, 5))
    keys = jax.random.split(jax.random.key(0), 200)
    sampled = np.asarray(jax.vmap(lambda key: slots.training_frames(key, video, 25, 5))(keys))[..., 0, 0]
    assert set(sampled[:, 0]) == set(range(8))
    np.testing.assert_array_equal(np.diff(sampled), np.full((200, 24), 5))
    with pytest.raises(ValueError, match="span 121 frames, the video has 120"):
        slots.evaluation_frames(video[:120], 25, 5)
    spread = np.asarray(slots.spread_frames(video, 25))[:, 0, 0]
    assert (spread[0], spread[-1], len(spread)) == (0, 127, 25) and set(np.diff(spread)) == {5, 6}
    np.testing.assert_array_equal(slots.spread_frames(video, 128), video)
    with pytest.raises(ValueError, match="25 frames are wanted, the video has 20"):
        slots.spread_frames(video[:20], 25)
    for number in (2, 13, 25, 128):
        moved = np.stack([slots.training_frames(key, video, number, 0)[:, 0, 0] for key in keys[:60]])
        spread = np.asarray(slots.spread_frames(video, number))[:, 0, 0]
        gap = 127 / (number - 1)
        assert (np.diff(moved) >= 1).all() and moved.min() >= 0 and moved.max() <= 127
        assert np.abs(moved - spread).max() <= gap / 2 + 0.5
        if gap > 3:
            assert (np.std(moved, axis=0) > gap / 8).all()
            np.testing.assert_allclose(np.mean(moved, axis=0)[1:-1], spread[1:-1], atol=gap / 4)


def test_order_of_slots():
    generator = np.random.default_rng(0)
    video = jnp.asarray(generator.normal(size=(4, 5, 3)), "f4")
    shuffled = slots.shuffle_slots(jax.random.key(1), video)
    places = [int(np.flatnonzero((video[0] == slot).all(-1))[0]) for slot in shuffled[0]]
    assert sorted(places) == list(range(5)) != places
    np.testing.assert_array_equal(shuffled, video[:, np.array(places)])
    np.testing.assert_array_equal(slots.sort_slots(shuffled), slots.sort_slots(video))
    kept = slots.shuffle_slots(jax.random.key(1), video, background=True)
    np.testing.assert_array_equal(kept[:, 0], video[:, 0])
    np.testing.assert_array_equal(slots.sort_slots(kept), slots.sort_slots(video))
    others = [slots.sort_slots(x, background=True) for x in (kept, video)]
    np.testing.assert_array_equal(*others)
    np.testing.assert_array_equal(others[0][:, 0], video[:, 0])
    assert not np.array_equal(kept, video) and not np.array_equal(others[0], slots.sort_slots(video))
    hidden = slots.hide_slots(jax.random.key(2), 300, 5)
    assert (hidden.sum(-1) == 1).all() and hidden.any(0).all()
