"""Paired statistics and the rule that turns them into a verdict."""
