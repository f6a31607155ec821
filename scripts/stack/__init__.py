"""The whole stack on one machine, without containers (`make stack`)."""
