"""From sets to batches: the loader, the batches of training, the batches of evaluation."""
