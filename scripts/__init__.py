"""Tools of the project's own; no part of the packages."""
