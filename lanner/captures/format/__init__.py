"""Read and write the parts of a capture: blocks, events, processes and threads."""
