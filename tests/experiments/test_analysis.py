"""The numbers behind the figures, on scenes and models made by hand whose truth is known."""

import functools

import jax
import numpy as np
import pytest

import oddn_jax
from experiments.pictures import analysis
from tests.experiments.discs import SIZE, decoded_discs, discs
from tests.experiments.tiny import get_config


def test_centroids_are_pixels():
    masks = discs([(5, 17), (14, 6)])
    np.testing.assert_allclose(analysis.centroids(masks)[1:], [(5, 17), (14, 6)], atol=1e-6)
    np.testing.assert_allclose(analysis.centroids(np.zeros((4, 6, 1))), (2.5, 1.5))


def test_traversal_measures_known_velocities():
    velocity = np.array([(2, 0), (0, -1.5), (0, 0), (-1, 1)])  # pixels per unit of each dynamics dimension
    colors = np.eye(3)
    latents = np.array([(0, 0), (8, 12), (16, 14)], float)  # positions; that of the background means nothing
    dynamics = np.zeros((3, 4))
    dynamics[1] = (0.5, 0, 3, 0)  # keeps acting while another dimension is varied
    values = np.stack([np.linspace(-2, 2, 5) * scale for scale in (1, 2, 1, 1)])
    calls = []

    def decode(latents):
        calls.append(latents.shape)
        return decoded_discs(np.round(latents[..., 1:, :]), colors)

    def predict(dynamics, latents):
        return latents + dynamics @ velocity

    result = analysis.traverse(predict, decode, latents, dynamics, 1, values)
    np.testing.assert_allclose(result.velocity[[0, 2, 3]], velocity[[0, 2, 3]], atol=1e-5)
    np.testing.assert_allclose(result.velocity[1], velocity[1], atol=0.1)  # half pixels are rounded
    start = latents[1] + (1, 0)
    np.testing.assert_allclose(result.centroid[3], start + values[3, :, None] * (-1, 1), atol=1e-5)
    # The other object stays where it is, whatever the first one does.
    others = analysis.centroids(result.decoded.slot_masks[:, :, 2])
    np.testing.assert_allclose(others, np.broadcast_to((16, 14), others.shape), atol=1e-6)
    assert calls == [(4, 5, 3, 2)]


def test_a_dimension_without_spread_has_no_velocity():
    def predict(dynamics, latents):
        return latents + dynamics[..., :2]

    colors = np.eye(3)
    result = analysis.traverse(
        predict,
        lambda latents: decoded_discs(latents[..., 1:, :], colors),
        np.array([(0, 0), (8, 12), (16, 14)], float),
        np.zeros((3, 2)),
        1,
        np.zeros((2, 5)),
    )
    np.testing.assert_array_equal(result.velocity, np.zeros((2, 2)))


# Two discs of different colours that jump farther than their size, and pass each other; frame by frame.
PATHS = np.array([[(4, 5), (19, 18)], [(7, 5), (15, 18)], [(14, 5), (8, 18)], [(20, 5), (3, 17)]])
COLORS = np.array([(0.5, 0.5, 0.5), (0.9, 0.1, 0.1), (0.1, 0.1, 0.9)])


def shuffled(decoded, orders):
    """The same clip with the slots of frame t in the order `orders[t]`."""

    def shuffle(x):
        return np.stack([frame[order] for frame, order in zip(x, orders)])

    return oddn_jax.Decoded(*(shuffle(x) for x in decoded[:3]), decoded.reconstruction)


def test_slots_are_followed_through_jumps_and_shuffles():
    decoded = decoded_discs(PATHS, COLORS)
    np.testing.assert_array_equal(analysis.follow_slots(decoded), np.tile(np.arange(3), (4, 1)))
    orders = np.array([(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0)])
    followed = analysis.follow_slots(shuffled(decoded, orders))
    np.testing.assert_array_equal(np.take_along_axis(orders, followed, 1), np.tile(np.arange(3), (4, 1)))


def test_slots_of_one_colour_are_followed_by_where_they_are():
    decoded = decoded_discs(
        [[(5, 5), (5, 18)], [(7, 6), (7, 17)], [(9, 7), (9, 16)]], [(0.5, 0.5, 0.5)] + 2 * [(0.9, 0.1, 0.1)]
    )
    orders = np.array([(0, 1, 2), (0, 2, 1), (2, 1, 0)])
    followed = analysis.follow_slots(shuffled(decoded, orders))
    np.testing.assert_array_equal(np.take_along_axis(orders, followed, 1), np.tile(np.arange(3), (3, 1)))


def test_the_backgrounds_slot_is_not_exchanged_for_one_that_looks_more_like_it():
    decoded = decoded_discs(PATHS, COLORS)
    swapped = shuffled(decoded, np.array([(0, 1, 2), (1, 0, 2), (1, 0, 2), (1, 0, 2)]))
    np.testing.assert_array_equal(analysis.follow_slots(swapped)[1:, 0], [1, 1, 1])
    followed = analysis.follow_slots(swapped, background=True)
    np.testing.assert_array_equal(followed, [(0, 1, 2)] * 4)


def random_observation(generator, num_frames, num_observed, num_slots=3):
    def normal(*shape):
        return generator.normal(size=shape)

    decoded = decoded_discs(PATHS[:num_frames], COLORS)
    t, s, k = num_frames, num_frames - num_observed, num_slots
    future = oddn_jax.Rollout(
        normal(s, k, 5), normal(s, k, 4), jax.tree.map(lambda x: normal(s, *x.shape[1:]), decoded), normal(s, k, k),
        normal(s, k, 2 * k),
    )  # fmt: skip
    return analysis.Observation(
        normal(t, k, 5),
        decoded,
        oddn_jax.Distillation(normal(t - 1, k, 4), normal(t - 1, k, 2 * k)),
        oddn_jax.Interaction(normal(t - 1, k, 4), normal(t - 1, k, k), normal(t - 1, k, k, 6)),
        future,
    )


def shuffle_observation(observation, orders, num_observed):
    """What the model would have said, had its slots come in other orders."""

    def one(values, orders):
        return np.stack([frame[order] for frame, order in zip(values, orders)])

    def pairs(values, orders):
        return np.stack([frame[order][:, order] for frame, order in zip(values, orders)])

    def matches(values, before, orders):
        k = values.shape[1]
        return np.stack(
            [
                np.concatenate([frame[order][:, :k][:, early], frame[order][:, k:][:, order]], 1)
                for frame, early, order in zip(values, before, orders)
            ]
        )

    _, decoded, (dynamics, match), interaction, future = observation
    later, future_orders = orders[1:], [orders[num_observed - 1]] * len(future.latents)
    return analysis.Observation(
        one(observation.latents, orders),
        shuffled(decoded, orders),
        oddn_jax.Distillation(one(dynamics, later), matches(match, orders[:-1], later)),
        oddn_jax.Interaction(
            one(interaction[0], later), pairs(interaction[1], later), pairs(interaction[2], later)
        ),
        oddn_jax.Rollout(
            one(future.latents, future_orders),
            one(future.dynamics, future_orders),
            shuffled(future.decoded, future_orders),
            pairs(future.pair_attention, future_orders),
            matches(future.match_attention, future_orders, future_orders),
        ),
    )


def test_aligning_undoes_any_order_of_the_slots():
    truth = random_observation(np.random.default_rng(0), num_frames=4, num_observed=2)
    orders = [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0)]
    mixed = shuffle_observation(truth, [np.array(order) for order in orders], 2)
    assert not np.array_equal(mixed.interaction.pair_attention, truth.interaction.pair_attention)
    jax.tree.map(np.testing.assert_array_equal, analysis.align(mixed, 2), truth)


def test_the_planted_collision_is_found():
    """Objects 4 and 7 in slots 2 and 1; their slots attend to each other in frame 3 and nothing else does."""
    masks = discs([(5, 17), (14, 6)])
    segmentation = np.zeros((SIZE, SIZE), np.uint8)
    segmentation[4:9, 12:17], segmentation[15:20, 3:8] = 5, 8
    assert analysis.slots_of_objects(masks, segmentation, (4, 7)) == (2, 1)
    assert analysis.slots_of_objects(masks, segmentation, (4, 6)) is None  # object 6 is not in the picture
    half = segmentation.copy()
    half[4:15, 12:17] = 5  # six rows more, in which the background has the largest mask
    assert analysis.slots_of_objects(masks, half, (4, 7)) is None
    attention = np.full((6, 3, 3), 0.1) * (1 - np.eye(3))
    attention[3, 2, 1], attention[3, 1, 2] = 0.9, 0.7
    assert analysis.strongest_pair(attention) == (2, 1)
    series = analysis.pair_series(attention, (2, 1))
    np.testing.assert_allclose(series, [0.1, 0.1, 0.1, 0.8, 0.1, 0.1])


def test_more_objects_than_slots():
    masks = discs([(5, 17), (14, 6)])
    segmentation = np.zeros((SIZE, SIZE), np.uint8)
    segmentation[4:9, 12:17], segmentation[15:20, 3:8], segmentation[22:, 22:] = 5, 8, 9
    assert analysis.slots_of_objects(masks, segmentation, (4, 7)) == (2, 1)
    assert analysis.slots_of_objects(masks, segmentation, (4, 8)) is None  # the smallest one finds no slot


def test_the_moving_slot_is_no_background():
    masks = discs(PATHS * [[[1, 1], [0, 0]]] + [[[0, 0], [12, 12]]])  # the second disc rests
    assert analysis.moving_slot(masks) == 1
    assert analysis.moving_slot(masks[:, [1, 2, 0]]) == 0
    assert (
        analysis.moving_slot(masks[:, [1, 2, 0]], background=True) == 2
    )  # the first is out, whatever it shows


def test_prediction_errors_by_hand():
    video = np.zeros((1, 4, 2, 2, 3)) + np.array([0, 0.5, 0.6, 0.9])[:, None, None, None]
    model, copy = analysis.prediction_errors(video, video[:, 2:] + 0.2)
    np.testing.assert_allclose(model, [[0.04, 0.04]])
    np.testing.assert_allclose(copy, [[0.01, 0.16]])


@pytest.fixture(scope="module")
def tiny():
    model = oddn_jax.ODDN(get_config().model)
    initialize = functools.partial(model.init, method="initialize_parameters")
    params = jax.jit(initialize)(jax.random.key(0))["params"]
    video = np.random.default_rng(0).random((4, 8, 16, 16, 3)).astype("f4")
    return model, params, jax.device_get(analysis.observe(model, params, video))


def test_an_observation_is_what_the_methods_say(tiny):
    """The rollout goes on with the slots of the observed frames, whatever their order."""
    model, params, seen = tiny
    apply = functools.partial(analysis.apply, model, params)
    np.testing.assert_allclose(
        apply(seen.latents, method="decode").reconstruction, seen.decoded.reconstruction, atol=1e-5
    )
    dynamics, _ = apply(seen.latents, method="distill")
    interaction = apply(dynamics, seen.latents[:, 1:], method="interact")
    np.testing.assert_allclose(seen.interaction.pair_attention, interaction.pair_attention, atol=1e-5)
    following = apply(interaction.updated_dynamics[:, 0], seen.latents[:, 1], method="predict_latents")
    np.testing.assert_allclose(seen.future.latents[:, 0], following, atol=1e-5)
    assert seen.future.decoded.reconstruction.shape == (4, 6, 16, 16, 3)
