"""Training: the loop, what a step computes, what is drawn meanwhile, how a run goes on from another."""
