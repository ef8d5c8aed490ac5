"""The tables and figures of the paper, made again: rows, runs, scores beside the paper's."""
