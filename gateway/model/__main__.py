"""`python -m gateway.model [MODEL]`: put the base model into the cache and say where it is."""

import sys

from gateway.errors import GatewayError
from gateway.model.source import resolve_model

try:
    files = resolve_model(sys.argv[1] if len(sys.argv) > 1 else None, progress=print)
except GatewayError as error:
    sys.exit(f"error: {error}")
print(f"{files.name} {files.fingerprint[:12]} at {files.path}")
