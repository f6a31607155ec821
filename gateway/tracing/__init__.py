"""Traces of requests by OpenTelemetry. Nothing of it is imported where no setting asks for it."""
