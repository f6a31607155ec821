"""Engines: what runs the model. `base.py` is the contract; `embedded/` runs in this process."""
