"""Fine-tuning on CLEVRER-collision, the second stage of a run of clevrer.py.

    python -m experiments.finetune_collision --config=experiments/configs/clevrer_collision.py:VARIANT

VARIANT is any of clevrer.py; the run that it continues is runs/VARIANT, or `--config.init_from=FOLDER`.

| variant    | data                             | hours       | hardware       | score       |
|------------|----------------------------------|-------------|----------------|-------------|
| quickstart | simulated, collisions, 32x32     | not run yet | 2 CPU cores    | not run yet |
| prediction | CLEVRER, collisions, 64x64       | not run yet | 1 GPU and more | not run yet |
| reasoning  | CLEVRER, collisions, 64x96       | not run yet | 1 GPU and more | not run yet |
| any change | as its preset                    | not run yet | 1 GPU and more | not run yet |
"""

from experiments.config import TrainConfig, longest_clip
from experiments.configs import clevrer


def get_config(variant: str = "quickstart") -> TrainConfig:
    """The config of a variant.

    Source: every fourth frame and at least one collision are the paper's (Appendix A.2). It does not say how long
    either stage is: 60,000 steps after 100,000, with whole pictures and clips of full length from the start, are our
    choice.

    Raises:
        ValueError: a part of the variant is neither a preset nor a change.
    """
    config = clevrer.get_config(variant)
    config.init_from = config.workdir
    config.workdir += "-collision"
    config.data.clips = "collision"
    config.curriculum, config.resolutions = ((1.0, longest_clip(config)),), ((1.0, 1),)
    config.num_steps = 6 * config.num_steps // 10
    return config
