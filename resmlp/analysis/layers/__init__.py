"""The layers of a trained network: filters (Figure 2), sparsity (Figure 3), receptive fields, scales."""
