"""Who is who on this host: the process table, what /proc adds to it, and the names of users and groups."""
