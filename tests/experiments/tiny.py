"""A run small enough for tests: seconds on one core. Also read by the programs under test, as their --config."""

from experiments.config import DataConfig, TrainConfig
from oddn_jax.config import ODDNConfig

# The name that data_pipelines.build gives to the quickstart scenes with the options of `DATA_OPTIONS`.
DATA_OPTIONS = dict(height=16, width=16, num_train=16, num_validation=8, supersampling=1)
DATA_NAME = "quickstart-" + "-".join(f"{name}_{value}" for name, value in DATA_OPTIONS.items())


def get_config(variant: str = "default") -> TrainConfig:
    model = ODDNConfig.preset(
        "quickstart",
        image_height=16,
        image_width=16,
        num_slots=3,
        latent_size=4,
        num_refinement_steps=2,
        hidden_size=8,
        convolution_channels=8,
        pair_embedding_size=8,
        pair_attention_size=8,
        pair_effect_size=8,
    )
    return TrainConfig(
        model=model,
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
