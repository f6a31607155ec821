"""A location to the log that lives there."""

from __future__ import annotations

from gateway.log.base import RevisionLog
from gateway.log.location import FolderLocation, Location
from gateway.log.redis import RedisLog
from gateway.log.sqlite import FILE_NAME, SqliteLog


def open_log(location: Location) -> RevisionLog:
    """The log at `location`. Raises LogUnavailable for a file that cannot be used; a Redis is
    first spoken to when it is first used."""
    if isinstance(location, FolderLocation):
        return SqliteLog(location.path / FILE_NAME)
    return RedisLog(location)
