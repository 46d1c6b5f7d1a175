"""From the bytes of an image file to pixels of a network's size. Loads no torch: small programs predict with this."""
