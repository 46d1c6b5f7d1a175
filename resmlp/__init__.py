"""`resmlp`."""
