"""One file for each experiment, with what it takes and reaches: what `--config` names."""
