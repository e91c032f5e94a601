"""Which filter a collector uses: settings and topics in, a pushdown filter out."""
