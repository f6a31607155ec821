"""File, then environment, then flags; and errors that name the setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.errors import BadInput
from gateway.settings import PREFIX, Settings, read_settings


def config(folder: Path, text: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(text)
    return path


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = config(tmp_path, "port = 1\nslots = 2\nmax_rank = 3\n")
    environment = {"GATEWAY_SLOTS": "20", "GATEWAY_MAX_RANK": "30", "OTHER_SLOTS": "9"}
    found = read_settings({"max_rank": 40, "slots": None}, file=file, environment=environment)
    assert (found.port, found.slots, found.max_rank) == (1, 20, 40)
    assert found.max_rows == Settings().max_rows


def test_the_file_in_the_working_folder_is_read_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config(tmp_path, "slots = 7\n")
    monkeypatch.chdir(tmp_path)
    assert read_settings({}, environment={}).slots == 7


def test_without_a_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_settings({}, environment={}) == Settings()


def test_every_setting_can_stand_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = Settings(host="0.0.0.0", slots=5, grace_s=1.5, require_keys=True, model="m")
    environment = {
        PREFIX + name.upper(): str(value)
        for name, value in values.model_dump().items()
        if value is not None
    }
    assert read_settings({}, environment=environment) == values


@pytest.mark.parametrize(
    ("flags", "environment", "text", "field", "origin"),
    [
        ({"slots": 0}, {}, "", "slots", "--slots"),
        ({"device": "tpu"}, {}, "", "device", "--device"),
        ({"server_copies": -1}, {}, "", "server_copies", "--server-copies"),
        ({"admin_port": 70000}, {}, "", "admin_port", "--admin-port"),
        ({}, {"GATEWAY_GRACE_S": "soon"}, "", "grace_s", "GATEWAY_GRACE_S"),
        ({}, {"GATEWAY_LOG_LEVEL": "loud"}, "", "log_level", "GATEWAY_LOG_LEVEL"),
        ({}, {}, "max_rows = 'many'", "max_rows", "gateway.toml"),
        ({}, {}, "max_row = 4", "max_row", "did you mean max_rows?"),
        ({}, {}, "[slots]\nx = 1", "slots", "gateway.toml"),
    ],
)
def test_a_wrong_value_is_told_by_its_setting_and_where_it_stands(
    tmp_path: Path,
    flags: dict[str, Any],
    environment: dict[str, str],
    text: str,
    field: str,
    origin: str,
) -> None:
    with pytest.raises(BadInput) as caught:
        read_settings(flags, file=config(tmp_path, text), environment=environment)
    assert caught.value.param == field
    assert field in caught.value.message
    assert origin in caught.value.message


@pytest.mark.parametrize("text", ["port = ", "\x00", "= 3"])
def test_a_file_that_is_no_toml_is_told_by_its_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadInput, match=r"gateway\.toml"):
        read_settings({}, file=config(tmp_path, text), environment={})


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"missing\.toml"):
        read_settings({}, file=tmp_path / "missing.toml", environment={})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"engine": "upstream"}, "needs servers"),
        ({"servers": "gpu-1:8000"}, "write http://host:port"),
        (
            {"servers": "http://a,http://b", "adapter_fetchers": "http://c"},
            "one for each server, or none",
        ),
        ({"servers": "http://a", "server_dialect": "lorax"}, "needs adapter_fetchers"),
        ({"fingerprint": "0" * 64}, "goes with engine upstream"),
    ],
)
def test_settings_of_servers_fit_together(
    given: dict[str, str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=said):
        read_settings(given, environment={})


def test_servers_are_named_by_commas_or_as_a_list_and_their_key_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config(tmp_path, 'engine = "upstream"\nservers = ["http://a", "http://b"]\n')
    named = {"GATEWAY_SERVERS": "http://a, http://b", "GATEWAY_SERVER_KEY": "secret"}
    found = read_settings({}, environment=named)
    assert found.servers == read_settings({}, environment={}).servers == ("http://a", "http://b")
    assert found.upstream.key == "secret"
    assert "secret" not in found.model_dump_json()
