"""ODDNConfig: presets, validation."""

import dataclasses

import pytest

from oddn_jax import ODDNConfig
from oddn_jax.config import CHOICES, PRESETS


def test_presets():
    assert ODDNConfig.preset("prediction") == ODDNConfig()
    assert ODDNConfig.preset("reasoning").image_width == 96
    assert ODDNConfig.preset("quickstart", num_slots=5).num_slots == 5
    with pytest.raises(ValueError, match="no preset 'paper'; there are prediction, reasoning, quickstart"):
        ODDNConfig.preset("paper")


@pytest.mark.parametrize("name", PRESETS)
def test_configs_are_hashable_and_plain(name):
    config = ODDNConfig.preset(name)
    assert hash(config) == hash(ODDNConfig(**dataclasses.asdict(config)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, "something else") for name in CHOICES),
        ("image_height", 30),
        ("image_width", 0),
        ("num_slots", 0),
        ("pyramid", 1),
        ("background_slot", -1.0),
        ("num_context_frames", 1),
        ("likelihood_variance", 0.0),
        ("kernel_gain", 0.0),
        ("kl_weight", -1.0),
    ],
)
def test_wrong_values_are_named(field, value):
    with pytest.raises(ValueError, match=field):
        ODDNConfig(**{field: value})
