"""Parallel text: pairs of lines, tokens, and batches of them."""
