"""Loads a BPF program of two instructions (r0 = 0; exit), attaches it nowhere, and ends."""

import ctypes
import struct

_BPF_PROG_LOAD = 5
_SOCKET_FILTER = 1
_BPF_X86_64 = 321

instructions = ctypes.create_string_buffer(struct.pack("<QQ", 0xB7, 0x95))
license_name = ctypes.create_string_buffer(b"GPL")
addresses = ctypes.addressof(instructions), ctypes.addressof(license_name)
attributes = ctypes.create_string_buffer(struct.pack("<IIQQ", _SOCKET_FILTER, 2, *addresses) + bytes(96))
ctypes.CDLL(None).syscall(_BPF_X86_64, _BPF_PROG_LOAD, attributes, 48)
