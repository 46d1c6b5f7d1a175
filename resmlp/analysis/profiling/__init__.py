"""Table 1's columns for any network: parameters, MACs, throughput, memory."""
