"""Names of users and groups: an id and a root directory in, a name out."""
