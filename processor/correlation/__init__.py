"""Rules with memory: windows over events of a group, and repeats that are told once."""
