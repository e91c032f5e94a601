# %% [markdown]
# # Containers that drift from their image
#
# **Looked for.** Programs that ran in a container and that its image does not have. ATT&CK T1105, T1609.
#
# **Why.** Images are tested and scanned; what is written into a running container is not.

# %%
import os
from datetime import timedelta

import duckdb

from lanner import hunt

ARCHIVE = os.environ.get("LANNER_ARCHIVE", "/var/lib/lanner/archive")
SINCE = timedelta(days=float(os.environ.get("LANNER_DAYS", "30")))

found = hunt(
    "evt.type in (execve, execveat) and evt.rawres = 0 and container.id != host and proc.is_exe_upper_layer = true",
    ARCHIVE,
    since=SINCE,
    group_by=["container.image.repository", "proc.exepath", "proc.pname"],
)
duckdb.from_arrow(found).show(max_width=200)

# %% [markdown]
# **How to read it.** Some images install or compile when they start: their programs have the entry point as parent, in every container. A program below `/tmp` or
# `/dev/shm`, or whose parent is a server, is to be explained.
