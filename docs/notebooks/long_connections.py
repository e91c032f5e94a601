# %% [markdown]
# # Connections that last long
#
# **Looked for.** Connections that were used for more than eight hours. ATT&CK T1572.
#
# **Why.** Tunnels and remote control stay open. Most other connections end within minutes, or are to a few known servers.

# %%
import os
from datetime import timedelta

import duckdb

from lanner import hunt

ARCHIVE = os.environ.get("LANNER_ARCHIVE", "/var/lib/lanner/archive")
SINCE = timedelta(days=float(os.environ.get("LANNER_DAYS", "30")))

found = hunt(
    "evt.type in (connect, read, write, sendto, recvfrom, sendmsg, recvmsg, close) and fd.l4proto = tcp"
    " and not fd.snet in (127.0.0.0/8)",
    ARCHIVE,
    since=SINCE,
    group_by=["evt.hostname", "proc.exepath", "fd.name"],
    limit=100_000,
)
duckdb.sql("""
    SELECT *, last_seen - first_seen AS lasted FROM found WHERE last_seen - first_seen > INTERVAL 8 HOUR ORDER BY lasted DESC
""").show(max_width=200)

# %% [markdown]
# **How to read it.** `fd.name` has both addresses and ports, so that two connections rarely have the same. Databases, message brokers and agents
# of monitoring stay; an interpreter or `ssh` that leaves the network deserves a look. Only calls that rules collect are in the archive.
