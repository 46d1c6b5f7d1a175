"""Images with a label for each pixel: mask files, folders, data sets and joint transforms of image and mask."""
