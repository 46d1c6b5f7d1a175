"""What a run needs before it starts: time, memory, storage and network, each figure with its source."""
