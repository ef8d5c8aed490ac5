"""Block towers, simulated."""
