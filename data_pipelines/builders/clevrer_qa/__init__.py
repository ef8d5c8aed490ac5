"""CLEVRER's questions, from its files."""
