"""How fast a model runs, how fast it could, and how much it computes."""
