"""Keeps events and alerts as Parquet files beyond a topic's retention: messages come in, files and batches go out."""
