"""What is no video is refused in one line by whatever sees it first, in every model and in models of one's own."""

import dataclasses
import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import oddn_jax
from tests.oddn_jax.test_video_model import TINY


@dataclasses.dataclass(unsafe_hash=True)
class OwnConfig:
    image_height: int = 8
    image_width: int = 8


class Own(oddn_jax.VideoModel):
    """Sees what is there, and predicts what was there last; checks nothing itself."""

    Config = OwnConfig

    @nn.nowrap
    def look(self, params, video, keys, *, num_predicted=0, num_observed=2):
        masks = jnp.full((*video.shape[:2], 2, *video.shape[2:4], 1), 0.5)
        return oddn_jax.Seen(video, slot_masks=masks, predicted=video[:, -1:])


MODELS = {name: oddn_jax.MODELS[name](config) for name, config in TINY.items()} | {"own": Own(OwnConfig())}


pytestmark = pytest.mark.usefixtures("as_installed")


@functools.cache
def shapes_of(system):
    return {} if system == "own" else jax.eval_shape(MODELS[system].initialize, jax.random.key(0))


def with_value(video, value):
    changed = video.copy()
    changed[-1, -1, -1, -1, -1] = value
    return changed


# (what is made of a video, the message)
WRONG = {
    "pixels of 0 to 255": (
        lambda x: 255 * x,
        r"video has pixels from \S+ to 25\d\S*, they must lie in \[0, 1\]: divide",
    ),
    "pixels of -1 to 1": (
        lambda x: 2 * x - 1,
        r"video has pixels from -\S+ to \S+, they must lie in \[0, 1\](\n|$)",
    ),
    "NaN": (lambda x: with_value(x, np.nan), "video holds pixels that are NaN or infinite"),
    "infinite": (lambda x: with_value(x, np.inf), "video holds pixels that are NaN or infinite"),
    "bytes": (
        lambda x: (255 * x).astype(np.uint8),
        r"video is uint8\[3 .* is wanted, .* divide pixels of 0 to 255",
    ),
    "integers": (lambda x: x.astype(int), r"video is int64\[.* float32 or float64 is wanted, .* divide"),
    "half precision": (lambda x: x.astype(np.float16), r"video is float16\[.* float32 or float64 is wanted"),
    "complex": (lambda x: x.astype(complex), r"video is complex128\[.* float32 or float64 is wanted"),
    "four channels": (
        lambda x: np.concatenate([x, x[..., :1]], -1),
        r"video is float32\[3 3 \d+ \d+ 4\], \[b t \d+ \d+ 3\] is wanted: leave the fourth channel out",
    ),
    "channels first": (lambda x: np.moveaxis(x, -1, 2), "is wanted: colours are the last axis"),
    "a single clip": (
        lambda x: x[0],
        r"video is float32\[3 \d+ \d+ 3\], .* is wanted: a single clip is video\[None\]",
    ),
    "a single frame": (lambda x: x[0, 0], r"\[b t \d+ \d+ 3\] is wanted"),
    "a number": (lambda x: x.max(), r"video is float32\[\], \[b t \d+ \d+ 3\] is wanted"),
    "another size": (lambda x: x[..., :-2, :], r"frames are \d+x\d+ \(height x width\), the model's are"),
    "no clips": (lambda x: x[:0], r"video is float32\[0 3 .*\], which is empty"),
    "no frames": (lambda x: x[:, :0], r"video is float32\[3 0 .*\], which is empty"),
    "a list": (lambda x: x.tolist(), "video is a list, not an array"),
    "nothing": (lambda x: None, "video is a NoneType, not an array"),
}


@pytest.fixture(scope="module", params=MODELS)
def asked(request):
    """(video, everything that sees one, by name)"""
    model = MODELS[request.param]
    config = model.config
    video = np.random.default_rng(0).random((3, 3, config.image_height, config.image_width, 3), np.float32)
    key = jax.random.key(0)
    keys = jax.random.split(key, 3)
    methods = {
        name: partial(getattr(model, name), {}, key=key) for name in ("reconstruct", "segment", "latents")
    }
    methods["predict"] = partial(model.predict, {}, key=key, num_steps=2)
    if request.param == "own":
        return video, methods
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes_of(request.param))
    methods = {name: partial(f.func, params, **f.keywords) for name, f in methods.items()}
    methods["look"] = lambda video: model.look(params, video, keys, num_predicted=1)
    methods["loss"] = lambda video: model.loss(params, video, keys)
    apply = partial(model.apply, model.to_variables(params))
    for name in ("__call__", "infer", "observe", "rollout", "encode", "attend"):
        if hasattr(model, name):
            key_too = () if name in ("encode", "attend") else (key,)
            options = {"num_steps": 2} if name == "rollout" else {}
            methods[name] = partial(
                lambda video, name, key_too, options: apply(video, *key_too, **options, method=name),
                name=name,
                key_too=key_too,
                options=options,
            )
    return video, methods


# These see frames with any axes in front: a clip or a frame alone is no mistake.
ANY_AXES = ("infer", "attend", "observe", "rollout")


@pytest.mark.parametrize("what", WRONG)
def test_no_video_is_taken_for_one(asked, what):
    video, methods = asked
    change, message = WRONG[what]
    for name, method in methods.items():
        if what.startswith("a single") and (name in ANY_AXES or name == "__call__"):
            continue
        wrong = change(video)
        if name in ANY_AXES or name == "__call__":
            message = message.replace(r"\[b t ", r"\[(b t|\*b t|\*b) ")
        message = message.replace("video ", "(video|context) ")
        with pytest.raises(ValueError, match=message) as caught:
            method(wrong)
        assert "\n" not in str(caught.value), name


@pytest.mark.parametrize("system", MODELS)
def test_inside_jit_shapes_and_types_are_checked(system):
    model = MODELS[system]
    key, size = jax.random.key(0), (model.config.image_height, model.config.image_width)

    def see(shape, dtype):
        video = jax.ShapeDtypeStruct(shape, dtype)

        def see(params, video):
            return model.reconstruct(params, video, key)

        return jax.eval_shape(see, shapes_of(system), video)

    if system == "own":  # the others are traced elsewhere
        assert see((2, 3, *size, 3), jnp.float32).shape == (2, 3, *size, 3)
    for shape, dtype, message in (
        ((2, 3, *size, 3), jnp.uint8, "video is uint8"),
        ((2, 3, *size, 4), jnp.float32, "leave the fourth channel out"),
        ((3, *size, 3), jnp.float32, r"a single clip is video\[None\]"),
        ((2, 0, *size, 3), jnp.float32, "is empty"),
    ):
        with pytest.raises(ValueError, match=message):
            see(shape, dtype)


def test_rounding_and_other_layouts_and_precisions_are_no_mistakes():
    model = MODELS["own"]
    video = np.random.default_rng(0).random((2, 3, 8, 8, 3), np.float32)
    see = partial(model.reconstruct, {}, key=jax.random.key(0))
    for same in (
        np.asfortranarray(video),
        video.astype(">f4"),
        np.ascontiguousarray(video[::-1])[::-1],
        video.astype(float),
        jnp.asarray(video),
    ):
        np.testing.assert_array_equal(see(same), video)
    see(video * np.float32(1 + 1e-5))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        see(video * np.float32(1.1))


@pytest.mark.parametrize("num_steps", [0, -1, 1.5, None, 10**8])
def test_frames_to_predict_are_one_or_more_and_not_too_many(num_steps):
    video = np.zeros((1, 2, 8, 8, 3), np.float32)
    with pytest.raises(ValueError, match="frames cannot be predicted: at least 1"):
        MODELS["own"].predict({}, video, jax.random.key(0), num_steps)


def test_a_model_that_predicts_nothing_says_so():
    video = np.zeros((1, 2, 8, 8, 3), np.float32)

    def predict(params, video):
        return MODELS["MONet"].predict(params, video, jax.random.key(0), 2)

    with pytest.raises(ValueError, match="MONet predicts no frames"):
        jax.eval_shape(predict, shapes_of("MONet"), video)


def test_more_frames_than_there_are_cannot_be_observed():
    for name in ("ODDN", "PROVIDE", "SRVP"):
        model = MODELS[name]
        video = jnp.zeros((1, 3, model.config.image_height, model.config.image_width, 3))
        keys = jax.random.split(jax.random.key(0), 1)
        look = partial(model.look, num_predicted=1, num_observed=4)
        with pytest.raises(ValueError, match="4 frames cannot be observed: the clips have 3"):
            jax.eval_shape(look, shapes_of(name), video, keys)


def test_each_clip_has_a_key_of_its_own():
    model = MODELS["ODDN"]
    video = jnp.zeros((3, 3, 8, 8, 3))
    params = shapes_of("ODDN")
    for method in (model.look, model.loss):
        with pytest.raises(ValueError, match=r"there are keys \[1\] for 3 clips: one each"):
            jax.eval_shape(method, params, video, jax.random.split(jax.random.key(0), 1))


@pytest.mark.parametrize("system", TINY)
def test_two_frames_train_nothing(system):
    """A mean over no frames would be NaN."""
    model = MODELS[system]
    video = jnp.zeros((1, 2, model.config.image_height, model.config.image_width, 3))
    with pytest.raises(ValueError, match="at least 3 frames"):
        jax.eval_shape(model.loss, shapes_of(system), video, jax.random.split(jax.random.key(0), 1))


def test_what_are_no_latents_is_refused(tiny):
    model, variables = tiny
    apply = partial(model.apply, variables)
    latents, dynamics = np.zeros((2, 3, 6), np.float32), np.zeros((2, 3, 4), np.float32)
    for method, wrong, message in (
        ("decode", (latents[..., :5],), r"latents is float32\[2 3 5\], \[\*b k 6\] is wanted"),
        ("decode", (latents.astype(int),), "latents is int64"),
        ("decode", (latents[:, :0],), "is empty"),
        ("distill", (latents[:1],), "dynamics need two frames"),
        ("distill", (latents[0],), r"\[\*b k k 6\] is wanted"),
        ("interact", (dynamics, latents[:1]), r"latents is float32\[1 3 6\]"),
        ("interact", (latents, latents), r"dynamics is float32\[2 3 6\], \[\*b k 4\] is wanted"),
        ("predict_latents", (dynamics, latents[:, :2]), r"latents is float32\[2 2 6\]"),
    ):
        with pytest.raises(ValueError, match=message):
            apply(*wrong, method=method)
    with pytest.raises(ValueError, match=r"context is float32\[2 3 7\]|video is float32\[2 3 7\]"):
        apply(np.zeros((2, 3, 7), np.float32), num_steps=1, method="rollout")


def test_noise_of_another_shape_is_not_broadcast(tiny):
    model, variables = tiny
    video = np.zeros((2, 3, 8, 12, 3), np.float32)
    with pytest.raises(ValueError, match=r"noise is float32\[3 1 3 3 6\], \[r 2 3 3 6\] is wanted"):
        model.apply(variables, video, noise=np.zeros((3, 1, 3, 3, 6), np.float32), method="infer")
