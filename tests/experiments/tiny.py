"""A run small enough for tests: seconds on one core. Also read by the programs under test, as their --config.

The variant is the name of a system, or any other for ODDN.
"""

import dataclasses

from experiments.config import DataConfig, TrainConfig
from oddn_jax import MODELS, ODDNConfig

# The name that data_pipelines.build gives to the quickstart scenes with the options of `DATA_OPTIONS`.
DATA_OPTIONS = dict(height=16, width=16, num_train=16, num_validation=8, supersampling=1)
DATA_NAME = "quickstart-" + "-".join(f"{name}_{value}" for name, value in DATA_OPTIONS.items())


SRVP = dict(
    image_height=16,
    image_width=16,
    coder="dcgan",
    coder_channels=2,
    code_size=8,
    state_size=4,
    innovation_size=4,
    inference_size=8,
    num_inference_layers=2,
    dynamics_hidden_size=8,
    num_dynamics_layers=2,
)
MONET = dict(
    image_height=16,
    image_width=16,
    num_slots=3,
    latent_size=4,
    attention_channels=4,
    num_attention_blocks=3,
    attention_hidden_size=8,
    component_channels=4,
    component_hidden_size=8,
)


def make_model_config(system: str):
    if system in ("SRVP", "MONet"):
        return MODELS[system].Config(**(SRVP if system == "SRVP" else MONET))
    oddn = ODDNConfig.preset(
        "quickstart",
        image_height=16,
        image_width=16,
        num_slots=3,
        latent_size=4,
        num_refinement_steps=2,
        num_tracking_steps=0,
        hidden_size=8,
        convolution_channels=8,
        pyramid=0,  # and the paper's form and objective
        background_slot=0.0,
        kernel_gain=1.0,
        likelihood_variance=0.3,
        nll_weight=100.0,
        kl_weight=1.0,
        pair_embedding_size=8,
        pair_attention_size=8,
        pair_effect_size=8,
    )
    # PROVIDE's schedule moves this weight after the first step; its frames are compiled as a loop.
    changes = {"nll_weight": 7.0, "unroll": 1} if system == "PROVIDE" else {}
    return MODELS[system].Config(**dataclasses.asdict(oddn) | changes)


def get_config(variant: str = "default") -> TrainConfig:
    system = variant if variant in MODELS else "ODDN"
    return TrainConfig(
        system=system,
        model=make_model_config(system),
        data=DataConfig(name="simulated_clevrer", config=DATA_NAME),
        workdir=f"runs/{variant}",
        num_steps=6,
        batch_size=4,
        curriculum=((1.0, 3),),
        learning_rate=1e-2,
        log_every=2,
        eval_every=3,
        save_every=3,
        num_valid_clips=8,
        num_figure_clips=2,
    )
