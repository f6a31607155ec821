"""Training data: reading, checking, tokenising and mixing."""
