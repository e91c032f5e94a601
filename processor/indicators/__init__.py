"""Lists of indicators: files of digests, names, addresses and networks in, tables that find a value in them out."""
