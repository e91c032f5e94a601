# %% [markdown]
# # Files that make something start
#
# **Looked for.** What was written where services, schedules, shells and SSH find what to run or whom to let in. ATT&CK T1543.002, T1053.003, T1546.004, T1098.004.
#
# **Why.** Who wants to stay writes such a file.

# %%
import os
from datetime import timedelta

import duckdb

from lanner import hunt

ARCHIVE = os.environ.get("LANNER_ARCHIVE", "/var/lib/lanner/archive")
SINCE = timedelta(days=float(os.environ.get("LANNER_DAYS", "30")))

found = hunt(
    "evt.is_open_write = true and (evt.path pmatch (/etc/systemd/system, /etc/cron.d, /var/spool/cron, /etc/profile.d,"
    " /etc/ld.so.preload, /etc/rc.local) or evt.path endswith /.ssh/authorized_keys or evt.path endswith /.bashrc)",
    ARCHIVE,
    since=SINCE,
    group_by=["evt.path", "proc.name", "user.name", "evt.hostname"],
)
duckdb.from_arrow(found).show(max_width=200)

# %% [markdown]
# **How to read it.** Package managers and configuration management write most of them: leave out their `proc.name`. An editor, a shell or a server as writer
# is to be explained by somebody.
