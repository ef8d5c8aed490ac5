"""A model of a few thousand parameters, and something for it to look at."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import oddn_jax
from oddn_jax import ODDN, ODDNConfig

FACTS = {"data": "simulated", "step": 300}


def initialise(model):
    """Uniform values of a usual size, drawn by NumPy: compiling JAX's generators for every shape takes 10 seconds."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), method="initialize_parameters"))
    random = np.random.default_rng(0)
    return jax.tree.map(lambda x: jnp.asarray(random.uniform(-0.3, 0.3, x.shape), x.dtype), shapes)


@pytest.fixture(scope="session")
def initial_variables():
    """Makes variables for a model, always the same."""
    return initialise


@pytest.fixture(scope="session")
def tiny_config():
    return ODDNConfig(
        image_height=8,
        image_width=12,
        num_slots=3,
        latent_size=6,
        num_refinement_steps=3,
        hidden_size=8,
        convolution_channels=4,
        features="none",
        ffn_hidden_size=5,
        pair_embedding_size=7,
        pair_attention_size=5,
        pair_effect_size=9,
    )


@pytest.fixture(scope="session")
def video():
    return jax.random.uniform(jax.random.key(10), (2, 5, 8, 12, 3))


@pytest.fixture(scope="session")
def tiny(tiny_config):
    """(model, variables)"""
    model = ODDN(tiny_config)
    return model, initialise(model)


@pytest.fixture(scope="session")
def outputs(tiny, video):
    """Of `tiny` on `video`, compiled once for all tests."""
    model, variables = tiny
    return jax.jit(model.apply)(variables, video, jax.random.key(30))


@pytest.fixture(scope="session")
def export_of_tiny(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "model.safetensors"
    oddn_jax.save(path, tiny[0].config, tiny[1]["params"], provenance=FACTS)
    return path


@pytest.fixture
def exported(export_of_tiny, tmp_path):
    """A file of `tiny`, with FACTS for its origin, that a test may damage."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(export_of_tiny.read_bytes())
    return path
