"""Connections to the Redis that a location names, with every failure as LogUnavailable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

from gateway.errors import LogUnavailable
from gateway.log.location import RedisLocation

# redis-py types each command's answer as sync or async; these clients are sync throughout.
Client = Any

_CONNECT_S = 1.0


class RedisConnection:
    """Makes its client at the first use, so that a Redis that is away stops no start.

    `timeout_s` bounds each answer. Nothing is tried again in here: what a lost answer means is
    for the caller to find out.
    """

    def __init__(self, location: RedisLocation, *, timeout_s: float) -> None:
        self.location = location
        self._timeout_s = timeout_s
        self._client: Client | None = None

    @contextmanager
    def use(self) -> Iterator[Client]:
        """The client. Raises LogUnavailable for what goes wrong with it."""
        try:
            if self._client is None:
                self._client = _connect(self.location, self._timeout_s)
            yield self._client
        except (RedisError, OSError, ValueError) as error:  # ValueError: closed while it waited
            said = str(error) or type(error).__name__
            raise LogUnavailable(
                f"the log {self.location} cannot be used: {said}; check that Redis runs and that "
                "the address and password in `state` are right"
            ) from error

    def close(self) -> None:
        """Drop all connections; a blocked call fails. The next use connects anew."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
            if not isinstance(client, RedisCluster):
                client.connection_pool.disconnect()


def _connect(location: RedisLocation, timeout_s: float) -> Client:
    common: dict[str, Any] = {
        "username": location.user,
        "password": location.password,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": _CONNECT_S,
        "socket_keepalive": True,
        "decode_responses": True,
        "protocol": 2,
    }
    if location.tls:
        common |= {"ssl": True}
        if location.ca_file is not None:
            common["ssl_ca_certs"] = str(location.ca_file)
    once = Retry(NoBackoff(), 0)
    if location.kind == "cluster":
        node: Callable[[str, int], Any] = ClusterNode
        nodes = [node(host, port) for host, port in location.endpoints]
        return RedisCluster(startup_nodes=nodes, retry=once, **common)
    common |= {"retry": once, "db": location.database}
    if location.kind == "sentinel":
        watching = {**common, "db": 0}
        watching |= {"username": location.sentinel_user, "password": location.sentinel_password}
        sentinels: Client = Sentinel
        sentinel = sentinels(location.endpoints, sentinel_kwargs=watching, **common)
        return sentinel.master_for(location.service)
    ((host, port),) = location.endpoints
    return redis.Redis(host=host, port=port, **common)
