"""Training: the loop, the optimizer, the weight averages and the checkpoints; `train()` runs a recipe."""
