# %% [markdown]
# # Digests seen first
#
# **Looked for.** Contents of programs that no host ran before the last week, and on which hosts since. ATT&CK T1570.
#
# **Why.** A tool that an intruder copies from host to host has one digest, whatever its name.

# %%
import os
from datetime import timedelta

import duckdb

from lanner import hunt

ARCHIVE = os.environ.get("LANNER_ARCHIVE", "/var/lib/lanner/archive")
SINCE = timedelta(days=float(os.environ.get("LANNER_DAYS", "30")))

found = hunt(
    "evt.type in (execve, execveat) and evt.rawres = 0 and proc.exe.sha256 exists",
    ARCHIVE,
    since=SINCE,
    group_by=["proc.exe.sha256", "proc.exepath", "evt.hostname"],
    limit=100_000,
)
duckdb.sql("""
    SELECT "proc.exe.sha256"[:16] AS digest, list(DISTINCT "proc.exepath") AS paths, min(first_seen) AS first_seen,
        list(DISTINCT "evt.hostname") AS hosts
    FROM found GROUP BY "proc.exe.sha256"
    HAVING min(first_seen) > (SELECT max(last_seen) FROM found) - INTERVAL 7 DAY ORDER BY first_seen
""").show(max_width=200)

# %% [markdown]
# **How to read it.** Updates of packages bring many new digests to many hosts on the same day, with paths as before. One digest under several paths,
# or in the order in which hosts can reach each other, is another matter.
