"""The block towers of Groth et al., from their strips."""
