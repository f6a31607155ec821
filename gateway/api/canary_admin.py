"""Orders on canaries, over the admin API."""

from __future__ import annotations

from fastapi import APIRouter

from gateway.api.answers import Outcome
from gateway.api.operators import Operating
from gateway.api.orders import Order, PromoteOrder, SwitchOffOrder
from gateway.control.plane import ControlPlane
from gateway.control.values import Committed
from gateway.routing import canary_commands


async def acknowledged(
    plane: ControlPlane, done: Committed, order: Order, workflow: str
) -> Outcome:
    """What a command on a workflow came to, once every replica has answered or time is up."""
    if done.owed:  # nobody else was told, whatever revision they serve
        return Outcome.of(done, plane.fleet.alone(done.revision))
    return Outcome.of(done, await plane.fleet.acknowledged(done.revision, workflow, order.wait_s))


def canary_routes(plane: ControlPlane) -> APIRouter:
    """The routes that move a workflow's canary."""
    router = APIRouter()

    @router.post("/admin/v1/workflows/{workflow}/promote")
    async def promote(workflow: str, order: PromoteOrder, who: Operating) -> Outcome:
        """Give a workflow's canary its next share, after the last one everything."""
        done = await plane.amend(
            lambda state: canary_commands.promote(state, workflow, whole=order.whole),
            who.command(order),
        )
        return await acknowledged(plane, done, order, workflow)

    @router.post("/admin/v1/workflows/{workflow}/abort")
    async def abort(workflow: str, order: SwitchOffOrder, who: Operating) -> Outcome:
        """Take every request from a workflow's canary, until it is resumed or another is named."""
        done = await plane.abort(
            workflow, who.command(order), in_flight=order.in_flight, local=order.local
        )
        return await acknowledged(plane, done, order, workflow)

    return router
