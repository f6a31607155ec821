"""The embedded engine as a server of its own, for gateways elsewhere (`gateway engine`)."""
