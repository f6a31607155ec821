"""What can be asked: the base or an adapter in an engine, or a running gateway's workflow."""
