"""Guardrail suites as probe sets, for the gateway to ask beside live traffic."""
