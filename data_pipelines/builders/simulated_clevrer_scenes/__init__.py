"""Scenes of CLEVRER's kind, simulated and not drawn."""
