"""From the bytes of an image file to pixels of the input size; without torch, so that small programs can use it."""
