"""From the bytes of a picture file to pixels of a network's size. Loads no torch: small programs predict with this."""
