"""The upstream engine: the `Engine` contract over vLLM-compatible servers on other machines."""
