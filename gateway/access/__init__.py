"""Who may do what, and how much of it: keys, roles, limits. Pure values and maths, no I/O."""
