"""Choice of the collector's filter: takes settings and topics, returns a pushdown filter."""
