"""Guardrail probes: a route's target and the base are asked the same items, beside its traffic."""
