"""Parallel text for translation: pairs of lines, tokens and batches."""
