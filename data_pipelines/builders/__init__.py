"""Raw files to TFDS data sets: a folder for each data set, and what their builders have in common."""
