# %% [markdown]
# # Names that one host looks up
#
# **Looked for.** Names that were looked up by one host alone. ATT&CK T1071.004, T1568.
#
# **Why.** Hosts of a fleet ask for the same names. Generated names, and those that carry data, are asked for by one host.

# %%
import os
from datetime import timedelta

import duckdb

from lanner import hunt

ARCHIVE = os.environ.get("LANNER_ARCHIVE", "/var/lib/lanner/archive")
SINCE = timedelta(days=float(os.environ.get("LANNER_DAYS", "30")))

found = hunt("dns.question.name exists", ARCHIVE, since=SINCE, group_by=["dns.question.name"], rare=1, limit=100_000)
duckdb.sql("""
    SELECT regexp_extract("dns.question.name", '[^.]+[.][^.]+$') AS domain, count(*) AS names,
        max(length("dns.question.name")) AS longest, min(first_seen) AS first_seen
    FROM found GROUP BY domain ORDER BY names DESC
""").show(max_width=200)

# %% [markdown]
# **How to read it.** Many names below one domain, long ones above all, may carry data. It needs a rule with a condition on `dns.question.name`, such as
# *Many long names looked up*, which makes collectors send answers of name servers.
