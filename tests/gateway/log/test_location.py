"""A state's text becomes a place once, and what is wrong with it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import BadInput
from gateway.log.location import FolderLocation, RedisLocation, parse_location


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("var", FolderLocation(Path("var"))),
        ("/var/lib/gateway", FolderLocation(Path("/var/lib/gateway"))),
        ("redis://h", RedisLocation("single", (("h", 6379),))),
        (
            "rediss://ann:p%40ss@h:7000/3?namespace=blue&ca_file=/ca.pem",
            RedisLocation(
                "single",
                (("h", 7000),),
                tls=True,
                user="ann",
                password="p@ss",
                database=3,
                namespace="blue",
                ca_file=Path("/ca.pem"),
            ),
        ),
        (
            "redis://:secret@[::1]:7000",
            RedisLocation("single", (("::1", 7000),), password="secret"),
        ),
        (
            "redis+sentinel://a:1,b/main/2?sentinel_password=x",
            RedisLocation(
                "sentinel",
                (("a", 1), ("b", 26379)),
                database=2,
                service="main",
                sentinel_password="x",
            ),
        ),
        ("rediss+cluster://a,b:2", RedisLocation("cluster", (("a", 6379), ("b", 2)), tls=True)),
    ],
)
def test_every_form_is_read(text: str, place: object) -> None:
    assert parse_location(text) == place


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("http://h", "scheme 'http'"),
        ("redis+other://h", "scheme 'redis\\+other'"),
        ("redis://", "host is missing"),
        ("redis://h:x", "port 'x'"),
        ("redis://h:70000", "port '70000'"),
        ("redis://h/zero", "database 'zero'"),
        ("redis://h/1/2", "too many parts"),
        ("redis://a,b", "several hosts"),
        ("redis+sentinel://a", "service's name"),
        ("redis+cluster://a/1", "database 0 alone"),
        ("redis://h?namspace=x", "option 'namspace'"),
        ("redis://h?namespace={x}", "namespace may hold"),
        ("redis://:a#b@h", "%23"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        parse_location(text)
    assert caught.value.param == "state"


def test_a_password_is_never_printed() -> None:
    place = parse_location("redis://ann:secret@h/1?namespace=n")
    assert "secret" not in f"{place} {place!r}"
    assert str(place) == "redis://ann:***@h:6379/1"
