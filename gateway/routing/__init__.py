"""Routing: immutable tables, the event log's values and the pure fold over them. No I/O here."""
