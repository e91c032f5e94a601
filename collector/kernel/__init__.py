"""The running kernel: BTF in, struct offsets out; and the bpf(2) system call."""
