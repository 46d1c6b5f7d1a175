"""Batches of images: the loader, training batches and evaluation batches."""
