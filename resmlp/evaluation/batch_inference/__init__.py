"""Batch inference: the outputs of a network for every image of a data set, as one Parquet file.

The images are divided into blocks of a fixed size. A finished block is a file in the folder OUT.parts, so any number of
processes share the work without talking to each other, and the same command continues what was interrupted. The process
that finds all parts joins them. `inputs` lists the images, `plan` describes the work, `parts` is the folder, `outputs`
runs the network, `columns` makes tables of its results, and `run` puts these together.
"""
