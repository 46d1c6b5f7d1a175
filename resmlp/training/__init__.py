"""Training: the one loop, its optimizer, its averages and its checkpoints; `train()` runs a recipe."""
