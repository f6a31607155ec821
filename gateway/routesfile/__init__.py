"""routes.yaml: what people edit and review. Parsed with positions, validated whole."""
