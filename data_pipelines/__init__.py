"""Raw files to data sets, and data sets to batches. Never imports JAX."""
