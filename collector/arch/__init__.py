"""What depends on the processor architecture."""
