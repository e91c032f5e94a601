"""The way to the broker: batches in, acknowledged messages out, with a spool on disk in between."""
