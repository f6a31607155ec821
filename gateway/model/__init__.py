"""The base model on disk: where it comes from, its cache and its fingerprint."""
