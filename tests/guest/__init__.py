"""Tests in a virtual machine: cgroup version 2 alone, and Debian's kernel."""
