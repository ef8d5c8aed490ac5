"""Scores of trained models: which clips, which numbers, beside the paper's."""
