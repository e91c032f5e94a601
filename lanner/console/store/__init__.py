"""The view of the alerts in SQLite: alerts in, groups out. It can be deleted and filled again from the topic."""
