"""Questions about simulated scenes in CLEVRER's form: generated, executed on the truth, balanced, written."""
