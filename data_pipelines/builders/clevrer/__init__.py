"""CLEVRER's videos, from its archives."""
