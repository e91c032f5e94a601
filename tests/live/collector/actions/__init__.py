"""What acts on this host, on processes, namespaces and files of the tests' own."""
