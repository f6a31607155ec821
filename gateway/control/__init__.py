"""The control plane: takes commands and file edits, appends events, swaps the live table."""
