"""What must be known of the running kernel: its struct layouts and its bpf(2) call."""
