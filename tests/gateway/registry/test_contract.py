"""What every registry promises, over a folder, a disk and a memory by URL, and an S3 server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import AdapterRejected, BadInput, GatewayError, NotFound, RegistryUnavailable
from gateway.registry.content import adapter_digest
from gateway.registry.opening import open_registry
from gateway.registry.values import AdapterState, GateResult, GateVerdict
from gateway.routing.table import AdapterRef
from tests.gateway.registry.backends import KINDS, Backend, backend, peft, publish, s3_server


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    with backend(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def remote(place: Backend) -> Backend:
    if not place.remote:
        pytest.skip("of object storage alone")
    return place


def test_what_is_published_is_what_another_process_finds(place: Backend, tmp_path: Path) -> None:
    gate = GateResult(GateVerdict.PASS, "better", {"gain": 0.25})
    report, state = {"answers": {"s": []}, "é": 1}, AdapterState.APPROVED
    made = publish(
        place.open(), tmp_path, "t@1", gate=gate, report=report, recipe="a: 1\n", state=state
    )
    other = place.open()
    found = other.get(made.ref)
    assert replace(found, path=made.path) == made
    assert (found.gate, found.state) == (gate, state)
    assert adapter_digest(found.path, "t@1") == made.digest
    assert other.report(made.ref) == report
    assert other.manifest(made.ref).digest == made.digest
    assert (found.path / "recipe.yaml").read_text() == "a: 1\n"
    assert other.refs() == [made.ref]
    assert other.list() == [found]
    assert dict(other.catalogue().artifacts) == {made.ref: found}


def test_an_adapter_without_a_report_has_none(place: Backend, tmp_path: Path) -> None:
    made = publish(place.open(), tmp_path, "t@1")
    assert place.open().report(made.ref) is None


def test_an_empty_registry_holds_nothing(place: Backend) -> None:
    registry = place.open()
    assert registry.refs() == []
    assert registry.find(AdapterRef("t", "1")) is None
    assert not registry.catalogue().artifacts
    assert registry.catalogue().away is None


def test_a_name_never_gets_other_content(place: Backend, tmp_path: Path) -> None:
    first = publish(place.open(), tmp_path, "t@1")
    again = publish(place.open(), tmp_path, "t@1")
    assert again.digest == first.digest
    with pytest.raises(BadInput, match="new version"):
        publish(place.open(), tmp_path, "t@1", 2.0)
    assert place.open().get(first.ref).digest == first.digest


def test_of_two_who_publish_one_version_at_once_the_second_is_told(
    place: Backend, tmp_path: Path
) -> None:
    registries, said = [place.open(), place.open()], [""] * 2
    digests: list[str | None] = [None] * 2
    start = threading.Barrier(2)

    def run(index: int) -> None:
        start.wait()
        try:
            folder = tmp_path / str(index)
            digests[index] = publish(registries[index], folder, "t@1", float(index)).digest
        except BadInput as error:
            said[index] = error.message

    threads = [threading.Thread(target=run, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [digest for digest in digests if digest is not None]
    assert len(won) == 1
    assert any("other content" in message for message in said)
    assert place.open().get(AdapterRef("t", "1")).digest == won[0]


def test_a_wrong_name_is_answered_with_the_nearest(place: Backend, tmp_path: Path) -> None:
    publish(place.open(), tmp_path, "triage@1")
    with pytest.raises(NotFound, match="did you mean triage@1"):
        place.open().get(AdapterRef.parse("triag@1"))


@pytest.mark.parametrize("harm", ["damage", "lose"])
def test_stored_files_that_changed_are_refused_and_hide_no_other(
    place: Backend, tmp_path: Path, harm: str
) -> None:
    hurt = publish(place.open(), tmp_path, "hurt@1", 1.0)
    whole = publish(place.open(), tmp_path, "whole@1", 2.0)
    getattr(place, harm)("hurt@1")
    registry = place.open()
    with pytest.raises(AdapterRejected, match="hurt@1"):
        registry.find(hurt.ref)
    assert registry.get(whole.ref).digest == whole.digest
    assert whole.ref in registry.catalogue().artifacts


def test_an_unreadable_word_on_one_adapter_hides_no_other(place: Backend, tmp_path: Path) -> None:
    publish(place.open(), tmp_path, "hurt@1", 1.0)
    whole = publish(place.open(), tmp_path, "whole@1", 2.0)
    place.spoil("hurt@1")
    found = place.open().catalogue()
    assert list(found.artifacts) == [whole.ref]
    assert "hurt@1" in found.damaged[AdapterRef("hurt", "1")]


def test_verify_finds_what_changed_in_the_store(place: Backend, tmp_path: Path) -> None:
    made = publish(place.open(), tmp_path, "t@1")
    registry = place.open()
    registry.get(made.ref)
    place.damage("t@1")
    with pytest.raises(AdapterRejected, match="publish"):
        registry.verify(made.ref)


def test_a_folder_that_is_no_adapter_leaves_nothing_behind(place: Backend, tmp_path: Path) -> None:
    folder = peft(tmp_path / "odd")
    (folder / "adapter_model.bin").write_bytes(b"\x80")
    with pytest.raises(AdapterRejected, match="never opened"):
        place.open().add(
            folder, ref=AdapterRef("t", "1"), base_name="tiny", base_fingerprint="f" * 64
        )
    assert place.open().refs() == []


def test_what_is_at_hand_lies_on_this_disk(place: Backend, tmp_path: Path) -> None:
    publish(place.open(), tmp_path, "t@1")
    registry = place.open()
    artifact = registry.catalogue().artifacts[AdapterRef("t", "1")]
    with registry.at_hand(artifact):
        assert adapter_digest(artifact.path, "t@1") == artifact.digest


def test_a_bucket_that_is_not_there_is_no_empty_registry(tmp_path: Path) -> None:
    with s3_server():
        registry = open_registry("s3://of-nobody/adapters", cache=tmp_path)
        assert "there is no bucket of-nobody" in str(registry.catalogue().away)
        with pytest.raises(RegistryUnavailable, match="no bucket"):
            registry.refs()


def test_listing_fetches_no_files(remote: Backend, tmp_path: Path) -> None:
    publish(remote.open(), tmp_path, "t@1")
    remote.lose("t@1")
    registry = remote.open()
    assert not registry.damaged()
    (artifact,) = registry.list()
    with pytest.raises(GatewayError, match="is missing"), registry.at_hand(artifact):
        pass
