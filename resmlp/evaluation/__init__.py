"""Evaluation: a model and data to named numbers, one file for each family of protocols."""
