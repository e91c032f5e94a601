"""The kernel program: C source in, loaded maps and attached probes out."""
