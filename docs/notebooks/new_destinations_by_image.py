# %% [markdown]
# # New destinations of images
#
# **Looked for.** Addresses outside of private networks that containers of an image connected to in the last week, and never before. ATT&CK T1071.
#
# **Why.** A container does the same all its life. A new destination is a new version, or a program that calls home.

# %%
import os
from datetime import timedelta

import duckdb

from lanner import hunt

ARCHIVE = os.environ.get("LANNER_ARCHIVE", "/var/lib/lanner/archive")
SINCE = timedelta(days=float(os.environ.get("LANNER_DAYS", "30")))

found = hunt(
    "evt.type = connect and container.id != host and fd.l4proto = tcp"
    " and not fd.snet in (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 127.0.0.0/8)",
    ARCHIVE,
    since=SINCE,
    group_by=["container.image.repository", "fd.sip", "proc.name"],
    limit=100_000,
)
duckdb.sql("""
    SELECT * FROM found WHERE first_seen > (SELECT max(last_seen) FROM found) - INTERVAL 7 DAY ORDER BY first_seen
""").show(max_width=200)

# %% [markdown]
# **How to read it.** Compare with when the image was deployed: after a deployment, all is new. Addresses of content networks change by themselves;
# a new program (`proc.name`) with a new address is what to look at first.
