"""The systems that the paper compares ODDN with, each by its own recipe, on the data that ODDN sees.

    python -m experiments.train_baseline --config=experiments/configs/baselines.py:VARIANT

VARIANT is a system of the table, and `simulated` (simulated CLEVRER, 64x64) or `quickstart` (small models on simulated
scenes, minutes on two CPU cores) after a comma: `provide`, `srvp,simulated`, `monet,quickstart`.

| variant             | model                                 | optimiser and clips                                    |
|---------------------|---------------------------------------|--------------------------------------------------------|
| oddn                | ODDN                                  | the paper's: Adam 3e-4, 12 clips that grow to 8 frames |
| no_relation         | ODDN whose slots do not interact      | as oddn                                                |
| long_range          | ODDN-l, also predicts six frames      | as oddn                                                |
| iodine              | the backbone alone, frame by frame    | as oddn                                                |
| iodine_linear       | and a network that extrapolates slots | as oddn                                                |
| iodine_linear_frame | the same, all slots at once           | as oddn                                                |
| provide             | PROVIDE                               | its code's: Adam 3e-4, clip 5, 32 clips of 4 frames    |
| srvp                | SRVP, VGG coders, recipe for BAIR     | its code's: Adam 3e-4, last third falls to 0, no clip  |
| srvp_dcgan          | SRVP, DCGAN coders                    | as srvp                                                |
| monet               | MONet                                 | its paper's: RMSprop 1e-4, 48 images                   |

None has been run at full size yet. Our choice where a source is silent or does not fit: the number of steps (100,000;
SRVP 150,000 of its 1,500,000), SRVP's 48 clips of 8 frames (192 of 12), MONet's clips (12 of 4 frames), seven slots for
PROVIDE (as the ODDN paper compares it; its own command has six). With `quickstart` all have the steps, the batch, the
clips and the schedule of ODDN's quickstart, so that they have the same budget; sizes and rates are ours. Those that
share ODDN's backbone have all of what the quickstart does to it, the noise that the frames of a clip share and slots
that go on from frame to frame too: those of IODINE then keep an order, which as published they have not
(docs/tables_again.md).

ODDN "-dyn" (the paper's Table 2) is no other model: it is ODDN whose dynamics are left out of the features.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from experiments.config import DataConfig, TrainConfig
from experiments.configs import clevrer
from oddn_jax import ODDNConfig
from oddn_jax.baselines import IODINELinearConfig, MONetConfig, ProvideConfig, SRVPConfig


class System(NamedTuple):
    """A row of the table."""

    name: str  # of oddn_jax.MODELS
    model: Any  # class of the model's options
    options: Mapping[str, Any] = MappingProxyType({})
    training: Mapping[str, Any] = MappingProxyType({})


SRVP_TRAINING = dict(
    num_steps=150_000, batch_size=48, curriculum=((1.0, 8),), schedule="linear_end", gradient_clip=0.0
)
MONET_TRAINING = dict(optimizer="rmsprop", learning_rate=1e-4, gradient_clip=0.0, curriculum=((1.0, 4),))
SYSTEMS = {
    "oddn": System("ODDN", ODDNConfig),
    "no_relation": System("ODDN", ODDNConfig, clevrer.CHANGES["no_relation"]),
    "long_range": System("ODDN", ODDNConfig, clevrer.CHANGES["long_range"]),
    "iodine": System("IODINE", ODDNConfig),
    "iodine_linear": System("IODINELinear", IODINELinearConfig),
    "iodine_linear_frame": System("IODINELinear", IODINELinearConfig, {"predictor_scope": "frame"}),
    "provide": System("PROVIDE", ProvideConfig, training={"batch_size": 32, "curriculum": ((1.0, 4),)}),
    "srvp": System("SRVP", SRVPConfig, training=SRVP_TRAINING),
    "srvp_dcgan": System("SRVP", SRVPConfig, {"coder": "dcgan"}, SRVP_TRAINING),
    "monet": System("MONet", MONetConfig, training=MONET_TRAINING),
}
# Sizes for two CPU cores, of the models that ODDN's preset says nothing about.
SMALL = {
    "SRVP": dict(
        image_height=32,
        image_width=32,
        coder_channels=8,
        code_size=64,
        state_size=16,
        innovation_size=16,
        inference_size=64,
        dynamics_hidden_size=64,
    ),
    "MONet": dict(
        image_height=32,
        image_width=32,
        num_slots=4,
        latent_size=8,
        attention_channels=16,
        num_attention_blocks=4,
        component_channels=16,
        component_hidden_size=64,
    ),
}
# Their learning rates there; the others have that of ODDN's quickstart.
SMALL_TRAINING = {
    "SRVP": dict(learning_rate=1e-3, gradient_clip=0.0),
    "MONet": dict(optimizer="rmsprop", learning_rate=1e-3, gradient_clip=0.0),
}


def get_config(variant: str = "iodine,quickstart") -> TrainConfig:
    """The config of a variant.

    Raises:
        ValueError: it names no system, or something else than `simulated` or `quickstart` after one.
    """
    name, *parts = variant.split(",")
    if name not in SYSTEMS or not set(parts) <= {"simulated", "quickstart"}:
        raise ValueError(
            f"unknown variant {variant!r}: take one of {', '.join(SYSTEMS)}, and simulated or quickstart after a comma"
        )
    config = quickstart(SYSTEMS[name]) if "quickstart" in parts else published(SYSTEMS[name])
    if "simulated" in parts:
        config.data.name = "simulated_clevrer"
    config.workdir = f"runs/baselines-{variant.replace(',', '-')}"
    return config


def published(system: System) -> TrainConfig:
    """A system as its authors train it, on CLEVRER's centre at 64x64."""
    of_backbone = issubclass(system.model, ODDNConfig)
    model = (
        system.model.preset("prediction", **system.options) if of_backbone else system.model(**system.options)
    )
    data = DataConfig(name="clevrer", config="64x64")
    return TrainConfig(system=system.name, model=model, data=data, **system.training)


def quickstart(system: System) -> TrainConfig:
    """A small model of the kind, trained as long and on as much as ODDN's quickstart."""
    config = clevrer.quickstart()
    config.system = system.name
    if issubclass(system.model, ODDNConfig):
        changes = own_defaults(system.model) | system.options
        if system.name == "PROVIDE":
            # Have no meaning there: its slots are always carried from frame to frame.
            changes |= {"share_noise": False, "num_tracking_steps": 0}
            changes["num_refinement_steps"] = (
                5  # its own; ten, one after the other, take XLA minutes to compile
            )
        config.model = system.model(**vars(config.model) | changes)
    else:
        config.model = system.model(**SMALL[system.name], **system.options)
    for name, value in SMALL_TRAINING.get(system.name, {}).items():
        setattr(config, name, value)
    return config


def own_defaults(model: type[ODDNConfig]) -> dict[str, Any]:
    """What a model's options are where they differ from ODDN's, as PROVIDE's weight of the KL."""
    before, own = vars(ODDNConfig()), vars(model())
    return {name: value for name, value in own.items() if name not in before or before[name] != value}
