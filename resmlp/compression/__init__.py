"""Smaller networks: 8 or 4 bits for a weight, or fewer weights."""
