"""The page of `python -m experiments.explore`: clips, beliefs, changes, what would really happen.

Slots count from 0 in the code and in what the page sends, from 1 in what people read.
"""
