"""Answering questions about videos: features, questions, training, scores."""
