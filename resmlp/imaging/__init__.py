"""From the bytes of an image file to pixels of the network's input size; without torch, so small programs can use it."""
