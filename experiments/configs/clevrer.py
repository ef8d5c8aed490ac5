"""Pre-training on CLEVRER, and the quickstart on simulated CLEVRER.

    python -m experiments.clevrer_pretrain --config=experiments/configs/clevrer.py:VARIANT

VARIANT is a preset, or changes to one, joined by commas: `prediction`, `no_relation` (changes `prediction`),
`reasoning,no_relation`, `prediction,simulated,carry`.

| variant    | data             | hours       | hardware       | score                                |
|------------|------------------|-------------|----------------|--------------------------------------|
| quickstart | simulated, 32x32 | 0.06        | 2 CPU cores    | F-ARI 84 %, mIoU 62 % (simulated)    |
| clevrer    | simulated, 64x64 | 0.2         | 1 H200         | F-ARI 88 %, mIoU 49 % (simulated)    |
| prediction | CLEVRER, 64x64   | not run yet | 1 GPU and more | not run yet                          |
| reasoning  | CLEVRER, 64x96   | not run yet | 1 GPU and more | not run yet                          |
| any change | as its preset    | not run yet | 1 GPU and more | not run yet                          |

`clevrer` goes on from clevrer_slots.safetensors beside this file, whose stages are in docs/diary/six_objects.md, and
gives the slots of the bundled model (docs/results.md). On two CPU cores the same steps take some eight hours.
"""

from experiments.config import DataConfig, TrainConfig
from oddn_jax.config import ODDNConfig

PRESETS = ("quickstart", "clevrer", "prediction", "reasoning")
CHANGES = {
    "no_relation": {"use_relation": False},  # Table 2: the objects do not interact
    "long_range": {"long_range_steps": 6},  # Table 3, ODDN-l: also predicts six frames in one go
    "attend_previous_only": {"attend_current": False},  # Section 3.2's other reading of Eq. 8
    "carry": {"rollout_mode": "carry"},  # a rollout keeps its dynamics instead of distilling them again
    "one_step": {"student_forcing_depth": 1},  # without student forcing
    "no_features": {"features": "none"},  # the refinement sees the image without SqueezeNet's features
}


def get_config(variant: str = "quickstart") -> TrainConfig:
    """The config of a variant.

    Raises:
        ValueError: a part of the variant is neither a preset nor a change.
    """
    parts = variant.split(",")
    preset = parts.pop(0) if parts[0] in PRESETS else "prediction"
    config = {"quickstart": quickstart, "clevrer": small_clevrer}.get(preset, lambda: paper(preset))()
    for part in parts:
        if part == "simulated":
            config.data.name = "simulated_clevrer"
        elif part in CHANGES:
            for name, value in CHANGES[part].items():
                setattr(config.model, name, value)
        else:
            raise ValueError(
                f"unknown variant {part!r}: take one of {', '.join(PRESETS)}, "
                f"and any of {', '.join(CHANGES)}, simulated, joined by commas"
            )
    config.workdir = f"runs/{variant.replace(',', '-')}"
    return config


def paper(preset: str) -> TrainConfig:
    """The paper's training: `prediction` sees the centre at 64x64, `reasoning` the whole frame at 64x96."""
    size = {"prediction": "64x64", "reasoning": "64x96"}[preset]
    return TrainConfig(model=ODDNConfig.preset(preset), data=DataConfig(name="clevrer", config=size))


def quickstart() -> TrainConfig:
    """Minutes on two CPU cores: a small model on simulated scenes with few, large objects."""
    return TrainConfig(
        model=ODDNConfig.preset("quickstart"),
        data=DataConfig(name="simulated_clevrer", config="quickstart"),
        num_steps=4000,
        batch_size=2,  # more and smaller steps learn more from as many pictures (training diary)
        curriculum=((1.0, 3),),
        learning_rate=1e-3,
        schedule="cosine",
        warmup_steps=20,
        log_every=100,
        eval_every=1000,
        save_every=1000,
        num_valid_clips=32,
        figures_every=500,  # who watches sees the slots divide
    )


def small_clevrer() -> TrainConfig:
    """Six objects at CLEVRER's own size: goes on from slots whose stages are in the training diary."""
    config = quickstart()
    config.model = ODDNConfig.preset("clevrer")
    config.data = DataConfig(
        name="simulated_clevrer", config="64x64_six_objects-stride_4-num_train_3200-num_validation_200"
    )
    # From scratch, no colours after 3,200 steps (training diary).
    config.init_from = "experiments/configs/clevrer_slots.safetensors"
    config.model.num_tracking_steps = 5
    # A card takes 16 clips of 6 frames in little more time than 2 of 3.
    config.num_steps, config.batch_size, config.warmup_steps = 6000, 16, 200
    config.curriculum = ((1.0, 6),)
    config.num_valid_clips = 64
    return config
