"""Training on block towers: the real ones, and the quickstart on simulated ones.

    python -m experiments.block_towers --config=experiments/configs/block_towers.py:VARIANT

VARIANT is `quickstart`, `prediction`, or changes to one, joined by commas, as in clevrer.py: `prediction,simulated`.
The real towers have to be built first:

    python -m data_pipelines.build block_towers/64x64 --raw_dir=FOLDER_WITH_THE_STRIPS --data_dir=data

| variant              | data                    | hours       | hardware           | score       |
|----------------------|-------------------------|-------------|--------------------|-------------|
| quickstart           | simulated towers, 32x32 | not run yet | 2 CPU cores        | not run yet |
| prediction           | real towers, 64x64      | not run yet | 1 GPU and more     | not run yet |
| prediction,simulated | simulated towers, 64x64 | not run yet | 1 GPU and more     | not run yet |
| any change           | as its preset           | not run yet | 1 GPU and more     | not run yet |

The data have no validation split: the bound that is logged, and that picks the checkpoint kept as the best, is that
of the test videos. Report the last checkpoint, which nothing has picked.
"""

from experiments.config import TrainConfig
from experiments.configs import clevrer


def get_config(variant: str = "quickstart") -> TrainConfig:
    """The config of a variant.

    Source: 393 videos to train on, 100 to test, at 64x64, two frames observed and six predicted are the paper's
    (section 4.1). It tells neither the steps, which are those of CLEVRER here, nor the frame rate.

    Raises:
        ValueError: a part of the variant is neither a preset nor a change, or the preset is "reasoning" or "clevrer".
    """
    if variant.split(",")[0] == "clevrer":
        raise ValueError(
            '"clevrer" is a model for CLEVRER\'s scenes: take "quickstart" or "prediction,simulated"'
        )
    config = clevrer.get_config(variant)
    if config.data.config == "64x96":
        raise ValueError('the block towers have square frames only: take "prediction" instead of "reasoning"')
    config.data.name = config.data.name.replace("clevrer", "block_towers")
    config.data.valid_split = "test"
    if config.data.name == "block_towers":
        # Eight frames span 15: no real video is known to have fewer than 16, at a rate that nobody has noted.
        config.data.stride = 2
    config.workdir = f"runs/block_towers-{variant.replace(',', '-')}"
    return config
