"""The bodies of the admin API's commands, typed. A field that is not here is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.access.values import ANY_WORKFLOW, ClientGrant, OperatorGrant, Role


class Order(BaseModel):
    """The body of a command."""

    model_config = ConfigDict(extra="forbid")
    actor: str = Field(
        default="operator",
        min_length=1,
        max_length=128,
        description="who gives the order; with an operator key its name is recorded instead",
    )
    reason: str = Field(default="", max_length=2000, description="why; kept in the log")
    expected_revision: int | None = Field(
        default=None, ge=0, description="the revision it was decided on; refused if the log moved"
    )
    wait_s: float = Field(
        default=0,
        ge=0,
        le=30,
        description="seconds to wait until every live replica has said that it obeys; the answer "
        "names each",
    )


class ReasonedOrder(Order):
    """A command that must say why."""

    reason: str = Field(min_length=1, max_length=2000, description="why; kept in the log")


class ApproveOrder(Order):
    """An approval."""

    override: bool = Field(
        default=False,
        description="approve although the gate did not pass; needs a reason, and the log keeps it",
    )


class DisableOrder(ReasonedOrder):
    """A switch-off."""

    in_flight: Literal["finish", "restart"] = Field(
        default="finish",
        description="what becomes of running requests: they finish, or start again on the new "
        "target (a stream that has sent a token ends with an error event)",
    )


class SwitchOffOrder(DisableOrder):
    """A disable, which a replica that has lost the log may obey alone."""

    local: bool = Field(
        default=False,
        description="where the log is away: obey on this replica, and append when it is back",
    )


class PromoteOrder(ReasonedOrder):
    """A canary's next step."""

    whole: bool = Field(
        default=False, description="everything at once, in place of the plan's next step"
    )


class RollbackOrder(DisableOrder):
    """A return to an earlier route."""

    to: int | None = Field(default=None, ge=1, description="the revision to go back to")


class TableOrder(Order):
    """A routing table."""

    text: str = Field(description="the whole text, as in routes.yaml")


class AddOrder(Order):
    """A new adapter."""

    folder: Path = Field(description="the PEFT adapter's folder on the gateway's disk")
    ref: str = Field(description="name@version")
    workflow: str = Field(default="", description="the workflow it is made for")
    description: str = Field(default="", description="what it is, in a line")


class ClientGrantOrder(BaseModel):
    """What a client key may do."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["client"]
    workflows: list[str] = Field(
        default=[ANY_WORKFLOW],
        min_length=1,
        max_length=100,
        description="names or patterns, where * stands for any text",
    )
    requests_per_minute: int | None = Field(default=None, ge=1, description="null: no limit")
    tokens_per_minute: int | None = Field(
        default=None, ge=1, description="of prompts and answers together; null: no limit"
    )
    concurrent_requests: int | None = Field(default=None, ge=1, description="null: no limit")

    def grant(self) -> ClientGrant:
        """The value."""
        return ClientGrant(
            tuple(self.workflows),
            self.requests_per_minute,
            self.tokens_per_minute,
            self.concurrent_requests,
        )


class OperatorGrantOrder(BaseModel):
    """What an operator key may do."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["operator"]
    role: Role = Field(
        description="viewer reads; operator also disables, enables, rolls back, resumes and "
        "registers adapters; approver also approves, revokes, applies tables and manages keys"
    )

    def grant(self) -> OperatorGrant:
        """The value."""
        return OperatorGrant(self.role)


class KeyOrder(Order):
    """A new key."""

    name: str = Field(
        min_length=1, max_length=64, description="how events name it; never used twice"
    )
    grant: Annotated[ClientGrantOrder | OperatorGrantOrder, Field(discriminator="kind")]
