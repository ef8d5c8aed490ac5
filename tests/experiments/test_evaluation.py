"""The whole way from a data set to scores, with models whose scores are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import center_of_mass

from data_pipelines import build, loaders
from data_pipelines.datasets import open_split
from experiments.evaluation import scoring, summaries
from experiments.runs import mean_frame
from experiments.runs.clips import RULES, Clips, count_clips
from oddn_jax import Seen
from tests.experiments.tiny import DATA_NAME

NUM_OBSERVED = 2


@pytest.fixture(scope="module")
def clips(data_dir) -> Clips:
    path = build.dataset_path("simulated_clevrer", DATA_NAME, data_dir)
    return Clips(path, "validation", "first", 10, 4)


@pytest.fixture(scope="module")
def truth(clips) -> dict[str, np.ndarray]:
    """All clips of the split in one batch."""
    (batch,) = loaders.evaluation_batches(
        clips.dataset_dir, clips.split, num_frames=10, stride=4, batch_size=8
    )
    return batch


def knowing_look(segmentation, dynamics=None):
    """A model that knows what is to be found: by video, labels i32[n t h w] and perhaps dynamics f32[n t-1 k d]."""

    def look(params, video, example_id):
        masks = jax.nn.one_hot(jnp.asarray(segmentation)[example_id], 4, axis=2)[..., None]
        seen = None if dynamics is None else jnp.asarray(dynamics, jnp.float32)[example_id]
        future = {"predicted": video[:, NUM_OBSERVED:], "predicted_masks": masks[:, NUM_OBSERVED:]}
        return Seen(video, slot_masks=masks, dynamics=seen, **future)

    return look


def evaluate(look, clips, batch_size=3, mean=None):
    measured = scoring.measure(look, {}, clips, mean, num_observed=NUM_OBSERVED, batch_size=batch_size)
    return summaries.summary(measured)


def test_the_compiler_gets_its_options(clips):
    with pytest.raises(jax.errors.JaxRuntimeError, match="no_such_option"):
        scoring.measure(
            lambda params, video, example_id: Seen(reconstruction=video),
            {},
            clips,
            None,
            num_observed=NUM_OBSERVED,
            batch_size=3,
            compiler_options={"no_such_option": "1"},
        )


def test_the_truth_scores_one(clips, truth):
    velocity = np.nan_to_num(truth["image_velocity"])[:, 1:]  # objects 0, 1, 2 are labels 1, 2, 3
    slots = np.pad(velocity, ((0, 0), (0, 0), (1, 4 - 1 - velocity.shape[2]), (0, 0)))
    dynamics = np.concatenate([2 * slots[..., ::-1] + 1, slots], -1)
    scores = evaluate(knowing_look(truth["segmentation"], dynamics), clips)
    for name in ("ari", "fg_ari", "miou", "ssim"):
        assert scores[name] == {
            "mean": pytest.approx(1, abs=1e-6),
            "standard_error": pytest.approx(0, abs=1e-6),
            "n": 8,
        }
    assert scores["mse"]["mean"] == 0 and scores["psnr"]["mean"] == pytest.approx(scoring.PSNR_LIMIT)
    nothing = pytest.approx([0] * 8, abs=1e-9)
    for name in ("predicted_mse", "predicted_centre_error", "predicted_lost"):
        assert scores[name] == {"mean": nothing, "standard_error": nothing, "n": 8}
    for name in ("dynamics_r2", "dynamics_r2_x", "dynamics_r2_y"):
        assert scores[name]["mean"] == pytest.approx(1, abs=1e-5)
        assert scores[name]["n"] >= 50 and scores[name]["n_fitted"] >= 50


def test_where_predictions_put_the_objects(clips, truth):
    """The same masks one frame late: every object lags behind by what it moves in a frame, found by SciPy."""
    late = truth["segmentation"][:, [0, 1, *range(1, 9)]]
    measured = scoring.measure(knowing_look(late), {}, clips, None, num_observed=NUM_OBSERVED, batch_size=3)
    scores, by_clip = summaries.summary(measured), summaries.by_clip(measured)
    lags = np.full((8, 8), np.nan)
    for clip, frame in np.ndindex(8, 8):
        now, before = (truth["segmentation"][clip, t] for t in (frame + 2, frame + 1))
        labels = [n + 1 for n in truth["object_id"][clip] if n >= 0]
        assert set(labels) <= set(np.unique(now))  # the quickstart's objects stay in view
        places = [np.array(center_of_mass(np.ones_like(x), x, labels)) for x in (now, before)]
        lags[clip, frame] = np.linalg.norm(places[0] - places[1], axis=-1).mean()
    np.testing.assert_allclose(scores["predicted_centre_error"]["mean"], lags.mean(0), rtol=1e-9)
    error = lags.std(0, ddof=1) / 8**0.5
    np.testing.assert_allclose(scores["predicted_centre_error"]["standard_error"], error, rtol=1e-9)
    assert scores["copy_last_centre_error"]["mean"][-1] > 2 * lags[:, -1].mean()
    touched = (truth["collision_frame"] >= NUM_OBSERVED).any(1)
    assert 0 < touched.sum() < 8 and by_clip["with_collision"]["predicted_mse"]["n"] == touched.sum()
    np.testing.assert_allclose(
        by_clip["without_collision"]["predicted_centre_error"]["mean"], lags[~touched].mean(0), rtol=1e-9
    )
    assert by_clip["moving"]["predicted_mse"]["n"] == by_clip["still"]["predicted_mse"]["n"] == 4
    halves = [by_clip[kind]["copy_last_centre_error"]["mean"] for kind in ("still", "moving")]
    assert np.mean(halves[0]) < np.mean(scores["copy_last_centre_error"]["mean"]) < np.mean(halves[1])


def test_shuffled_masks_score_about_nothing(clips, truth):
    random = np.random.default_rng(0)
    flat = truth["segmentation"].reshape(80, -1)
    shuffled = random.permuted(flat, axis=1).reshape(truth["segmentation"].shape)
    dynamics = random.standard_normal((8, 9, 4, 4))
    scores = evaluate(knowing_look(shuffled, dynamics), clips)
    assert abs(scores["ari"]["mean"]) < 0.02 and abs(scores["fg_ari"]["mean"]) < 0.02
    assert 0 < scores["miou"]["mean"] < 0.3
    assert scores["dynamics_r2"]["mean"] is None  # no slot covers an object by half
    unrelated = evaluate(knowing_look(truth["segmentation"], dynamics), clips)
    assert unrelated["dynamics_r2"]["mean"] < 0.2


def test_references_and_standard_errors_by_hand(clips, truth):
    mean = mean_frame.compute(clips.dataset_dir)
    videos = np.stack([record["video"] for record in open_split(clips.dataset_dir, "train").records])
    np.testing.assert_array_equal(mean, np.rint(videos.mean((0, 1))))

    scores = evaluate(knowing_look(truth["segmentation"]), clips, mean=mean)
    assert not [name for name in evaluate(knowing_look(truth["segmentation"]), clips) if "mean_frame" in name]
    video, background = truth["video"].astype(np.float64), mean / 255
    for name, guess in (("copy_last_mse", video[:, 1:2]), ("mean_frame_mse", background)):
        errors = ((guess - video[:, 2:]) ** 2).mean((-3, -2, -1))
        np.testing.assert_allclose(scores[name]["mean"], errors.mean(0), rtol=1e-5)
        np.testing.assert_allclose(scores[name]["standard_error"], errors.std(0, ddof=1) / 8**0.5, rtol=1e-5)
    assert scores["copy_last_mse"]["mean"][0] < scores["copy_last_mse"]["mean"][-1]
    decibels = -10 * np.log10(((background - video[:, 2:]) ** 2).mean((-3, -2, -1)))
    np.testing.assert_allclose(scores["mean_frame_psnr"]["mean"], decibels.mean(0), rtol=1e-5)


def test_a_short_last_batch_compiles_nothing_and_changes_nothing(clips, truth):
    traced = []
    known = knowing_look(np.roll(truth["segmentation"], 1, axis=2))

    def look(*arguments):
        traced.append(arguments)
        return known(*arguments)

    scores = evaluate(look, clips, batch_size=3)  # 3 + 3 + 2
    assert len(traced) == 1
    whole = evaluate(look, clips, batch_size=8)
    assert scores.keys() == whole.keys() and len(traced) == 2
    for name, score in scores.items():
        np.testing.assert_equal(score["n"], whole[name]["n"])
        if score["mean"] is not None:
            np.testing.assert_allclose(score["mean"], whole[name]["mean"], rtol=1e-6)
    assert 0 < scores["fg_ari"]["mean"] < 1


def test_clips_are_limited(clips, truth):
    look, few = knowing_look(truth["segmentation"]), clips._replace(limit=5)
    assert evaluate(look, few)["mse"]["n"] == count_clips(few) == 5
    single = evaluate(look, clips._replace(limit=1))["mse"]
    assert (single["n"], single["standard_error"]) == (1, None)


@pytest.mark.parametrize("rule", RULES)
def test_counted_clips_are_those_that_are_read(clips, rule):
    for asked in (clips._replace(rule=rule), clips._replace(rule=rule, num_frames=3)):
        options = RULES[rule] | dict(num_frames=asked.num_frames, stride=4, batch_size=1)
        number = count_clips(asked)
        assert (number == 0) == (rule == "paper")
        if number:
            assert number == len(list(loaders.evaluation_batches(clips.dataset_dir, "validation", **options)))


def altered_batches(monkeypatch, **changes):
    read = loaders.evaluation_batches

    def batches(*arguments, **options):
        for batch in read(*arguments, **options):
            yield batch | {name: change(batch) for name, change in changes.items()}

    monkeypatch.setattr(loaders, "evaluation_batches", batches)


def test_clips_without_ground_truth_are_not_scored_on_it(clips, truth, monkeypatch):
    altered_batches(monkeypatch, has_segmentation=lambda batch: batch["example_id"] >= 6)
    scores = evaluate(knowing_look(truth["segmentation"]), clips)
    assert (scores["ari"]["n"], scores["miou"]["n"], scores["mse"]["n"]) == (2, 2, 8)
    monkeypatch.undo()
    altered_batches(monkeypatch, has_segmentation=lambda batch: np.zeros(len(batch["example_id"]), bool))
    scores = evaluate(knowing_look(truth["segmentation"]), clips)
    assert scores["fg_ari"] == {"mean": None, "standard_error": None, "n": 0}


def test_many_slots_are_scored_without_matching(clips, truth):
    def look(params, video, example_id):
        masks = jax.nn.one_hot(jnp.asarray(truth["segmentation"])[example_id], 20, axis=2)[..., None]
        return Seen(slot_masks=masks)

    scores = evaluate(look, clips)
    assert scores["fg_ari"]["mean"] == pytest.approx(1) and scores["miou"]["n"] == 0
    assert "mse" not in scores and "predicted_mse" not in scores and "dynamics_r2" not in scores


def test_lpips_is_measured_on_request(clips):
    def look(params, video, example_id):
        return Seen(jnp.where(example_id[:, None, None, None, None] < 4, 0.5 * video, video))

    layers = [(np.full((3, 3, inputs, 2), 0.1), np.array([0.0, 0.5])) for inputs in (3, *[2] * 12)]
    weights = jax.tree.map(np.float32, {"convolutions": layers, "heads": [np.ones(2)] * 5})
    background = np.zeros((16, 16, 3), np.float32)
    options = dict(num_observed=NUM_OBSERVED, batch_size=4, lpips_weights=weights)
    dark, equal = (
        summaries.summary(scoring.measure(look, {}, clips._replace(limit=limit), background, **options))[
            "lpips"
        ]
        for limit in (4, 8)
    )
    assert dark["n"] == 4 and dark["mean"] > 1e-3
    assert equal["mean"] == pytest.approx(dark["mean"] / 2, rel=1e-3)  # the other four are equal


def test_what_cannot_be_scored_is_an_error(clips, truth, monkeypatch):
    def broken(params, video, example_id):
        return Seen(jnp.where(example_id[:, None, None, None, None] == 4, jnp.nan, video))

    with pytest.raises(ValueError, match=r"^mse is not finite in video 4 of validation"):
        evaluate(broken, clips)


def with_strangers(segmentation, example_id, *labels):
    """The segmentation with a patch of each of these labels in all frames of video 5."""
    changed = segmentation.copy()
    for number, label in enumerate(labels):
        y, x = divmod(number, 16)
        changed[example_id == 5, :, y, x] = label
    return changed


@pytest.mark.parametrize("labels", [(4,), (9, 200), (17, 30, 99, 255)])
def test_a_wrong_detection_is_an_object_of_its_own_and_ends_nothing(
    clips, truth, monkeypatch, capsys, labels
):
    """CLEVRER's detector sees eight objects in videos that have fewer; all other clips count as before."""
    usual = evaluate(knowing_look(truth["segmentation"]), clips)
    assert "not annotated" not in capsys.readouterr().err
    altered_batches(
        monkeypatch,
        segmentation=lambda batch: with_strangers(batch["segmentation"], batch["example_id"], *labels),
    )
    ignorant = evaluate(knowing_look(truth["segmentation"]), clips)
    assert "1 of 8 clips show things that are not annotated" in capsys.readouterr().err
    assert ignorant["miou"]["n"] == ignorant["ari"]["n"] == 8
    assert 7 / 8 < ignorant["miou"]["mean"] < usual["miou"]["mean"] == pytest.approx(1)
    assert ignorant["mse"] == usual["mse"]
    slots = with_strangers(truth["segmentation"], np.arange(8), *(4 + np.arange(len(labels))))

    def look(params, video, example_id):
        return Seen(slot_masks=jax.nn.one_hot(jnp.asarray(slots)[example_id], 8, axis=2)[..., None])

    for name in ("ari", "fg_ari", "miou"):
        assert evaluate(look, clips)[name]["mean"] == pytest.approx(1)


def test_labels_are_numbered_without_gaps_and_within_what_can_be_matched(truth):
    numbered, strangers = scoring.number_labels(truth)
    assert strangers == 0
    for name in truth:
        np.testing.assert_array_equal(numbered[name], truth[name])
    object_id = np.array([[2, 7, -1], [-1, -1, -1]])
    segmentation = np.zeros((2, 1, 8, 8), np.uint8)
    segmentation[:, 0, 0, :4] = [0, 3, 8, 5]  # the two objects and something else
    segmentation[1, 0, 1:] = np.arange(100, 156).reshape(7, 8)
    batch, strangers = scoring.number_labels({"segmentation": segmentation, "object_id": object_id})
    np.testing.assert_array_equal(batch["segmentation"][0, 0, 0, :4], [0, 1, 2, 3])
    np.testing.assert_array_equal(batch["object_id"], [[0, 1, -1], [-1, -1, -1]])
    np.testing.assert_array_equal(batch["segmentation"][1, 0, 0, :4], [0, 1, 3, 2])
    assert batch["segmentation"].max() == 15 and strangers == 1
