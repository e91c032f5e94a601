"""The running kernel: BTF in, the numbers that the program needs out; and the bpf(2) system call."""
