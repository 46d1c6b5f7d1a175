"""From a data set to shards and their index: `resmlp data pack`."""
