"""Finds stored events by a condition or by SQL: DuckDB decides what SQL can state, the engine decides the rest."""
