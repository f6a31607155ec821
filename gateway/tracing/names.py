"""The names of what spans carry: OpenTelemetry's conventions for HTTP and for generative AI (whose
status is "development"), and the gateway's own. No span holds a prompt or an answer."""

from __future__ import annotations

from typing import Final

# https://opentelemetry.io/docs/specs/semconv/http/http-spans/
METHOD: Final = "http.request.method"
ROUTE: Final = "http.route"
STATUS: Final = "http.response.status_code"
RESENT: Final = "http.request.resend_count"
SCHEME: Final = "url.scheme"
ADDRESS: Final = "server.address"
PORT: Final = "server.port"
ERROR: Final = "error.type"

# https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
MAX_TOKENS: Final = "gen_ai.request.max_tokens"
TEMPERATURE: Final = "gen_ai.request.temperature"
TOP_P: Final = "gen_ai.request.top_p"
SEED: Final = "gen_ai.request.seed"
CHOICES: Final = "gen_ai.request.choice.count"
OUTPUT: Final = "gen_ai.output.type"
RESPONSE_MODEL: Final = "gen_ai.response.model"
FINISH: Final = "gen_ai.response.finish_reasons"
FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"  # seconds
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"

# The gateway's own. The first five say what the answer's headers say.
WORKFLOW: Final = "gateway.workflow"
TARGET: Final = "gateway.target"
REVISION: Final = "gateway.revision"
REASON: Final = "gateway.reason"
FALLBACK: Final = "gateway.fallback"  # the targets that failed the request: "target;error class"
REQUEST_ID: Final = "gateway.request_id"
ATTEMPT: Final = "gateway.attempt"  # of the engine for one request, from 1
