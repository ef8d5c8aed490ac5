"""Scenes of CLEVRER's kind, simulated."""
