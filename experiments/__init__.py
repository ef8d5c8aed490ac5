"""Programs that train and evaluate ODDN: `python -m experiments.NAME`, from any folder."""

from data_pipelines.extras import require

_TRAIN = ("absl", "matplotlib", "ml_collections", "optax", "orbax", "PIL", "tensorboardX", "tqdm")
require(__name__, "train,data", *_TRAIN, "av")
