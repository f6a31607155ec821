"""An adapter serves past its gate, or by an override that the log keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.errors import BadInput, NotAllowed
from gateway.registry.values import AdapterState, GateResult, GateVerdict
from gateway.routing.events import AdapterApproved
from tests.gateway.control.ports import adapter
from tests.gateway.control.test_plane import ADA, World, routes

NOT_PASSED = [GateVerdict.FAIL, GateVerdict.UNDECIDED, GateVerdict.NONE]
NO_REASON = type(ADA)("ada")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    for plane in made.planes:
        await plane.close()


def _publish(world: World, verdict: GateVerdict) -> None:
    """`c@1`, a candidate with that verdict."""
    gate = GateResult(verdict, "facts lost 20.0 pp" if verdict is GateVerdict.FAIL else "")
    made = adapter("c@1", AdapterState.CANDIDATE, gate)
    world.registry.held[made.ref] = made


C = adapter("c@1")


async def test_an_adapter_whose_gate_passed_is_approved(world: World) -> None:
    plane = await world.start(routes())
    _publish(world, GateVerdict.PASS)
    done = await plane.approve(C.ref, ADA)
    assert done.event is not None
    assert done.event.change == AdapterApproved(C.ref, C.digest, False, GateVerdict.PASS)


@pytest.mark.parametrize("verdict", NOT_PASSED)
async def test_any_other_gate_is_refused_with_what_to_do(
    world: World, verdict: GateVerdict
) -> None:
    plane = await world.start(routes())
    _publish(world, verdict)
    with pytest.raises(NotAllowed, match="--override --reason") as refused:
        await plane.approve(C.ref, ADA)
    assert ("facts lost" in str(refused.value)) is (verdict is GateVerdict.FAIL)
    assert plane.state.verdicts == {}


@pytest.mark.parametrize("verdict", NOT_PASSED)
async def test_an_override_needs_a_reason_and_is_kept(world: World, verdict: GateVerdict) -> None:
    plane = await world.start(routes())
    _publish(world, verdict)
    with pytest.raises(BadInput, match="reason"):
        await plane.approve(C.ref, NO_REASON, override=True)
    done = await plane.approve(C.ref, ADA, override=True)
    assert done.event is not None
    assert done.event.change == AdapterApproved(C.ref, C.digest, True, verdict)
    await plane.close()
    kept = (await world.start()).state.gate_overrides[C.digest]
    assert (kept.gate, kept.by.actor, kept.by.reason) == (verdict, ADA.actor, ADA.reason)


async def test_an_override_of_a_gate_that_passed_overrides_nothing(world: World) -> None:
    plane = await world.start(routes())
    _publish(world, GateVerdict.PASS)
    await plane.approve(C.ref, NO_REASON, override=True)
    assert plane.state.gate_overrides == {}


async def test_a_revoked_override_is_over_but_stays_in_the_log(world: World) -> None:
    plane = await world.start(routes())
    _publish(world, GateVerdict.FAIL)
    await plane.approve(C.ref, ADA, override=True)
    await plane.revoke(C.ref, ADA)
    assert plane.state.gate_overrides == {}
    changes = [event.change for event in await plane.history()]
    assert AdapterApproved(C.ref, C.digest, True, GateVerdict.FAIL) in changes
    with pytest.raises(NotAllowed, match="failed its gate"):
        await plane.approve(C.ref, ADA)
