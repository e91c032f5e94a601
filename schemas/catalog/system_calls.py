"""The meanings of system calls: for each, the event types that have it, in the order in which people name them."""

FLAG_OPENERS = ("open", "openat", "openat2")
"""The event types that open a file by its path, with flags."""
PATH_OPENERS = frozenset({*FLAG_OPENERS, "creat"})
"""The event types that open a file by its path."""
FILE_OPENERS = PATH_OPENERS | {"open_by_handle_at"}
EXECS = ("execve", "execveat")
CLONES = ("clone", "clone3", "fork", "vfork")
ACCEPTS = ("accept", "accept4")
CONNECTS = ("connect", *ACCEPTS)
SENDS = ("sendto", "sendmsg", "sendmmsg")
RECEIVES = ("recvfrom", "recvmsg", "recvmmsg")
ANSWERED = (*RECEIVES, "recv", "read", "readv")
"""The event types that may receive an answer of the Domain Name System, which they then contain."""
HELLOS = (*SENDS, "send", "write", "writev")
"""The event types that may send a TLS ClientHello, whose server name they then have."""
MESSAGES = (*SENDS, *RECEIVES)
"""The event types that may name the other end of a socket."""
REMOVES = ("unlink", "unlinkat", "rmdir")
CREATES = ("mkdir", "mkdirat", "mknod", "mknodat")
"""The event types that make directories and special files."""
RENAMES = ("rename", "renameat", "renameat2")
LINKS = ("link", "linkat")
SYMLINKS = ("symlink", "symlinkat")
MODES = ("chmod", "fchmod", "fchmodat", "fchmodat2")
TRUNCATES = ("truncate", "ftruncate")
DUPLICATES = ("dup", "dup2", "dup3")
TIMES = ("utime", "utimes", "futimesat", "utimensat")
CLOCKS = ("clock_settime", "settimeofday", "stime", "clock_adjtime", "adjtimex")
ATTRIBUTES = ("setxattr", "lsetxattr", "fsetxattr", "setxattrat")
