"""Programs that train and evaluate ODDN: `python -m experiments.NAME`, run from the root of the repository."""
