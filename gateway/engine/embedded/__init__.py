"""The embedded engine: one base model in this process, a mixed batch of many adapters."""
