"""Processor architectures: system call numbers in, event types out."""
