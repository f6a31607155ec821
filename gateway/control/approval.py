"""The rule that an adapter serves only past its gate. Pure."""

from __future__ import annotations

from gateway.errors import BadInput, NotAllowed
from gateway.registry.values import AdapterArtifact, GateVerdict
from gateway.routing.events import AdapterApproved

_SAID = {
    GateVerdict.FAIL: "failed its gate",
    GateVerdict.UNDECIDED: "has an undecided gate, which is not a pass",
    GateVerdict.NONE: "was published without a gate: nothing shows what it harms",
}


def approved(artifact: AdapterArtifact, *, override: bool, reason: str) -> AdapterApproved:
    """The approval of `artifact` as an event.

    Raises NotAllowed where its gate did not pass and `override` is not set, BadInput where it is
    and no reason says why. An override of a gate that passed overrides nothing.
    """
    gate = artifact.gate
    overridden = gate.verdict is not GateVerdict.PASS
    if overridden and not override:
        because = f" ({gate.reason})" if gate.reason else ""
        raise NotAllowed(
            f"{artifact.ref} {_SAID[gate.verdict]}{because}; train and register a version that "
            f"passes, or approve this one all the same with `gateway adapters approve "
            f"{artifact.ref} --override --reason WHY`, which the log keeps"
        )
    if overridden and not reason.strip():
        raise BadInput(
            f"{artifact.ref} {_SAID[gate.verdict]}; overriding that needs a reason "
            "(`--reason WHY`), which the log keeps",
            param="reason",
        )
    return AdapterApproved(artifact.ref, artifact.digest, overridden, gate.verdict)
