"""Questions about the simulated scenes."""
