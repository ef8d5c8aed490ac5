"""The page of `python -m experiments.explore`: clips, what the model believes, changes, what would really happen, a server.

Slots count from 0 in the code and in what the page sends, from 1 in what people read.
"""
