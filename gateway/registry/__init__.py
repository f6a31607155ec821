"""The registry: immutable adapters with manifest, eval report and initial state, on disk."""
