"""Data -> gradient: algorithms, batches, losses, the learner, and the model it trains."""
