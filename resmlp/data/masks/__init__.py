"""Images with a label for each pixel: files, trees, sets, and joint transforms."""
