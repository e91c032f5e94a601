# %% [markdown]
# # Failed logins before a successful one
#
# **Looked for.** Hours with many failed logins of a host, and a successful one in the same hour or the next. ATT&CK T1110.
#
# **Why.** Guessing passwords fails often, then works.

# %%
import os
from datetime import timedelta

import duckdb

from lanner import hunt

ARCHIVE = os.environ.get("LANNER_ARCHIVE", "/var/lib/lanner/archive")
SINCE = timedelta(days=float(os.environ.get("LANNER_DAYS", "30")))

hour = timedelta(hours=1)
failed = hunt(
    "evt.is_open_write = true and (fd.name = /var/log/btmp or fd.name startswith /run/faillock/"
    " or fd.name startswith /var/run/faillock/)",
    ARCHIVE,
    since=SINCE,
    group_by=["evt.hostname"],
    timeline=hour,
    limit=100_000,
)
worked = hunt(
    "evt.is_open_write = true and fd.name in (/var/log/wtmp, /var/log/lastlog, /var/lib/wtmpdb/wtmp.db)",
    ARCHIVE,
    since=SINCE,
    group_by=["evt.hostname", "proc.name"],
    timeline=hour,
    limit=100_000,
)
duckdb.sql("""
    SELECT failed."evt.hostname", failed.time, failed.events AS failed, worked."proc.name", min(worked.first_seen) AS worked
    FROM failed JOIN worked ON failed."evt.hostname" = worked."evt.hostname"
        AND worked.time BETWEEN failed.time AND failed.time + INTERVAL 1 HOUR
    WHERE failed.events >= 10 GROUP BY ALL ORDER BY failed DESC
""").show(max_width=200)

# %% [markdown]
# **How to read it.** `sshd` and `login` write a failed login to `btmp`, PAM's faillock writes those of `sudo` and `su`, too, and a login goes to `wtmp`. Ten failures of a person
# are rare. Who it was, and from where, is in the log of `sshd`.
