# %% [markdown]
# # Programs of no package
#
# **Looked for.** Programs that ran and that neither a package nor an image brought. ATT&CK T1105.
#
# **Why.** What an intruder brings is in no package. On hosts that are installed by packages alone, nothing else should run.

# %%
import os
from datetime import timedelta

import duckdb

from lanner import hunt

ARCHIVE = os.environ.get("LANNER_ARCHIVE", "/var/lib/lanner/archive")
SINCE = timedelta(days=float(os.environ.get("LANNER_DAYS", "30")))

found = hunt(
    "evt.type in (execve, execveat) and evt.rawres = 0 and proc.exe.origin in (dropped, modified)",
    ARCHIVE,
    since=SINCE,
    group_by=["proc.exepath", "proc.exe.origin", "proc.exe.written_by", "evt.hostname"],
    limit=10_000,
)
duckdb.sql("""
    SELECT "proc.exepath", "proc.exe.origin", list(DISTINCT "proc.exe.written_by") AS written_by,
        count(DISTINCT "evt.hostname") AS hosts, sum(events) AS events, min(first_seen) AS first_seen
    FROM found GROUP BY ALL ORDER BY hosts, first_seen DESC
""").show(max_width=200)

# %% [markdown]
# **How to read it.** `modified` is worse than `dropped`: a package lists the file with another content. Own software below `/opt` or `/usr/local` is on many hosts,
# and so at the end.
