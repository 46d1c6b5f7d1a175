"""What the layers of a network learned: Figures 2 and 3, receptive fields, scales."""
