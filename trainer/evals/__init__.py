"""Suites, checks, targets: the same items asked of base and adapter, every answer kept."""
