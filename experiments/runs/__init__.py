"""What a run is on disk: its folder, checkpoints and log, the trained model found again, the data it is about."""
