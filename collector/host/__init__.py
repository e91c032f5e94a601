"""The host's identity: files of this host in, its id, name and signing key out."""
