"""Models by name, the frozen names of their arrays, and a model of one's own."""

import dataclasses
import json
import pathlib
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import oddn_jax
from oddn_jax.baselines import IODINELinearConfig, MONetConfig, ProvideConfig, SRVPConfig
from oddn_jax.export import flatten_params

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


def read_golden(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


def exported_arrays():
    """Names and shapes of each model's arrays at its published configuration, from the frozen lists."""
    oddn, linear = read_golden("parameters")["prediction"], read_golden("iodine_linear_parameters")
    own = ("distiller/", "relation/", "predictor/")
    iodine = {name: shape for name, shape in oddn.items() if not name.startswith(own)}
    yield "ODDN", oddn_jax.ODDNConfig(), oddn
    yield "IODINE", oddn_jax.ODDNConfig(), iodine
    for scope in ("slot", "frame"):
        yield "IODINELinear", IODINELinearConfig(predictor_scope=scope), iodine | linear[scope]
    provide = read_golden("provide_parameters")["prediction"]
    yield "PROVIDE", ProvideConfig(), provide | {"schedule/nll_weight": []}
    for coder, arrays in read_golden("srvp_parameters").items():
        renamed = {name.removeprefix("params/"): shape for name, shape in arrays.items()}
        yield "SRVP", SRVPConfig(coder=coder), renamed
    yield "MONet", MONetConfig(), read_golden("monet_parameters")["default"]


@pytest.mark.parametrize("name, config, expected", [*exported_arrays()])
def test_exported_names_are_frozen(name, config, expected):
    """A change here breaks every file that people have: it needs a new format version."""
    params = jax.eval_shape(oddn_jax.MODELS[name](config).initialize, jax.random.key(0))
    assert {name: list(leaf.shape) for name, leaf in flatten_params(params).items()} == expected


@dataclasses.dataclass(unsafe_hash=True)
class KnownConfig:
    """Of `Known`."""

    image_height: int = 2
    image_width: int = 2
    slots: bool = True


class Known(oddn_jax.VideoModel):
    """A model that sees two slots, the second one where the picture is bright, and predicts what it is told."""

    config: Any
    Config = KnownConfig

    def setup(self):
        self.shade = self.param("shade", nn.initializers.ones, ())

    def initialize_parameters(self) -> None:
        """Nothing has to be run."""

    @nn.nowrap
    def look(self, params, video, keys, *, num_predicted=0, num_observed=2):
        if not self.config.slots:
            return oddn_jax.Seen(video)
        noise = jax.vmap(lambda key: jax.random.normal(key, (1, 1, 1)))(keys)
        bright = (video.mean(-1, keepdims=True) > 0.5).astype(video.dtype)
        masks = jnp.stack([1 - bright, bright], 2)
        future = jnp.full((len(video), num_predicted, *video.shape[2:]), params["shade"] * num_observed)
        return oddn_jax.Seen(video, slot_masks=masks, latents=masks[..., 0, 0, :] + noise, predicted=future)


def test_the_nouns_are_what_is_seen():
    model = Known(KnownConfig())
    params = jax.tree.map(lambda x: 3 * x, model.initialize(jax.random.key(0)))
    video = jax.random.uniform(jax.random.key(1), (2, 3, 2, 2, 3))
    key = jax.random.key(2)
    np.testing.assert_array_equal(model.reconstruct(params, video, key), video)
    np.testing.assert_array_equal(model.segment(params, video, key), video.mean(-1) > 0.5)
    latents = model.latents(params, video, key)
    assert (
        latents.shape == (2, 3, 2, 1) and len(np.unique(latents - latents.round(0))) > 1
    )  # a key for each clip
    predicted = model.predict(params, video, key, num_steps=4)
    assert predicted.shape == (2, 4, 2, 2, 3) and (predicted == 3 * 3).all()  # from all three frames
    assert (model.num_context_frames, model.num_rollout_steps) == (2, 6)

    model = Known(KnownConfig(slots=False))
    assert model.segment(params, video, key) is None and model.latents(params, video, key) is None
    with pytest.raises(ValueError, match=r"^Known predicts no frames$"):
        model.predict(params, video, key, num_steps=4)


def test_a_model_of_ones_own_is_found_by_its_module(tmp_path):
    module = sys.modules[__name__]
    assert oddn_jax.model_name(Known) == f"{module.__name__}:Known"
    assert oddn_jax.find_model(f"{module.__name__}:Known") is Known
    path = tmp_path / "known.safetensors"
    oddn_jax.save(path, KnownConfig(slots=False), {"shade": np.ones((), np.float32)}, model=Known)
    model, params = oddn_jax.load(path)
    assert model == Known(KnownConfig(slots=False)) and params["shade"] == 1


@pytest.mark.parametrize(
    "name, message",
    [
        ("Known", "model 'Known' is not one of ODDN, "),
        (
            "nobodys_models.toy:Toy",
            "model 'nobodys_models.toy:Toy' is not known yet: import nobodys_models.toy first",
        ),
        ("json:JSONDecoder", "json has no VideoModel of that name"),
        ("json:nothing", "json has no VideoModel of that name"),
    ],
)
def test_other_names_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        oddn_jax.find_model(name)
