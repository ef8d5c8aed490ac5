"""How fast a model runs, how fast it could, how much it computes, and what it needs of a card."""
