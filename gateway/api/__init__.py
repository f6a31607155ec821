"""HTTP: the OpenAI-compatible inference API and the admin API."""
