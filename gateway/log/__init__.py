"""The revision log: one append-only sequence of events, several back ends, one contract."""
