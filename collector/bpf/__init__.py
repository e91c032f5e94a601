"""The program that runs in the kernel: its source, its compilation and its loading."""
