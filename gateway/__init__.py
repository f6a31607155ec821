"""Model-routing gateway: one base model, many adapters, each workflow on its approved route."""

__version__ = "0.1.0"
