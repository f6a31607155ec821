"""A live view of a running gateway: what its admin API and its metrics say, as one screen."""
