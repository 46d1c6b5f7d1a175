"""Masks and outlines in the formats of others, as folders of images and index PNGs: `resmlp data masks`."""
