"""Labeled images: trees of folders, published sets, and what changes an image."""
