"""Packed data sets: images in a few large tar files, and an index of them that is mapped into memory."""
