# %% [markdown]
# # Connections at regular intervals
#
# **Looked for.** Programs that connect to an address again and again, with nearly equal time between. ATT&CK T1071.001.
#
# **Why.** Remote control asks for orders at intervals, which people and most programs do not.

# %%
import os
from datetime import timedelta

import duckdb

from lanner import hunt

ARCHIVE = os.environ.get("LANNER_ARCHIVE", "/var/lib/lanner/archive")
SINCE = timedelta(days=float(os.environ.get("LANNER_DAYS", "30")))

found = hunt(
    "evt.type = connect and fd.l4proto = tcp and not fd.snet in (127.0.0.0/8)",
    ARCHIVE,
    since=SINCE,
    fields=["evt.hostname", "proc.exepath", "fd.sip"],
    limit=500_000,
)
duckdb.sql("""
    WITH waits AS (
        SELECT *, (epoch_ns(time) - lag(epoch_ns(time)) OVER (
            PARTITION BY "evt.hostname", "proc.exepath", "fd.sip" ORDER BY time)) / 1e9 AS wait
        FROM found
    )
    SELECT "evt.hostname", "proc.exepath", "fd.sip", count(*) AS connections, round(avg(wait)) AS seconds,
        round(stddev(wait) / avg(wait), 2) AS variation
    FROM waits WHERE wait > 1 GROUP BY ALL HAVING count(*) >= 10 AND stddev(wait) < 0.3 * avg(wait) ORDER BY variation
""").show(max_width=200)

# %% [markdown]
# **How to read it.** `variation` is the deviation as a share of the mean: 0 is a clock. Monitoring and time synchronization are regular, too, to addresses that
# all hosts have; look at addresses of few hosts, outside of the network.
