"""Trainer: from a reviewed recipe to a registered adapter with its evals."""
