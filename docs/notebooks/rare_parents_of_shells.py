# %% [markdown]
# # Rare parents of shells
#
# **Looked for.** Programs that start a shell on at most two hosts. ATT&CK T1059.004.
#
# **Why.** A server or an interpreter that was taken over often starts a shell, which it never does otherwise. Terminals, schedulers and
# administration tools start shells everywhere, so that what few hosts have stands out.

# %%
import os
from datetime import timedelta

import duckdb

from lanner import hunt

ARCHIVE = os.environ.get("LANNER_ARCHIVE", "/var/lib/lanner/archive")
SINCE = timedelta(days=float(os.environ.get("LANNER_DAYS", "30")))

found = hunt(
    "evt.type in (execve, execveat) and evt.rawres = 0 and proc.name in (ash, bash, dash, ksh, sh, zsh)",
    ARCHIVE,
    since=SINCE,
    group_by=["proc.pexepath"],
    rare=2,
)
duckdb.from_arrow(found).show(max_width=200)

# %% [markdown]
# **How to read it.** `groups` is the number of hosts. Servers of web pages, of databases and of mail, and runtimes such as `java` and `node`, deserve a
# look first; then list the command lines: `hunt("proc.pexepath = …", fields=["proc.cmdline", "user.name"])`.
