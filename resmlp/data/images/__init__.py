"""Labeled images: trees of class folders, published data sets, and transforms of an image or a batch."""
