"""Table 1's columns of any network, measured in shared rounds."""
