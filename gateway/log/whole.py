"""A whole history, or a refusal: for what may only be decided by one who has read all of it."""

from __future__ import annotations

from gateway.errors import LogUnavailable, NotAllowed
from gateway.log.location import FolderLocation, Location
from gateway.log.opening import open_log
from gateway.log.record import event_of, verify
from gateway.log.sqlite import FILE_NAME
from gateway.routing.events import Event


def whole_history(location: Location) -> list[Event]:
    """Every event of the log at `location`, from its first.

    Raises LogUnavailable where it is away or not there, NotAllowed where something of it is
    missing, was edited, or cannot be read by this version; also where it is empty: that is what a
    wrong address looks like.
    """
    if isinstance(location, FolderLocation) and not (location.path / FILE_NAME).is_file():
        raise LogUnavailable(
            f"there is no log at {location.path / FILE_NAME}; --state names its folder or Redis"
        )
    log = open_log(location)
    try:
        head = log.head()
        records = list(log.records())
    finally:
        log.close()
    if not records:
        raise NotAllowed(
            f"the log at {location} holds no revision, so that nothing tells what is in use; name "
            "the gateways' log with --state"
        )
    broken = verify(records)
    if broken is None and records[-1].revision < head:
        broken = records[-1].revision + 1
    if broken is not None:
        raise NotAllowed(
            f"the log at {location} is not whole: revision {broken} is missing or not as it was "
            "appended; look with `gateway audit verify`, and restore the log"
        )
    try:
        return [event_of(record) for record in records]
    except ValueError as error:
        raise NotAllowed(
            f"the log at {location} holds what this version cannot read ({error}); use the newest "
            "gateway that writes to it"
        ) from None
