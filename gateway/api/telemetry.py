"""FastAPI's own telemetry, which every app of the gateway turns off.

Where a process has a global OpenTelemetry provider, FastAPI would trace and log by itself, with the
messages of validation errors, and so with words of a request. What is traced here is
`gateway.tracing`'s to say.
"""

from __future__ import annotations

from typing import Any, Final

# For `FastAPI(telemetry=…)`. Untyped: FastAPI before 0.165 has neither the type nor the telemetry.
OFF: Final[Any] = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
