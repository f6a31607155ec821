"""Keys over the admin API: make, list, revoke."""

from __future__ import annotations

from fastapi import APIRouter, Response

from gateway.access import commands
from gateway.access.secret import new_key
from gateway.api.answers import Keys, NewKey, Outcome, ShownKey, outcome_fields
from gateway.api.operators import Approving
from gateway.api.orders import KeyOrder, ReasonedOrder
from gateway.control.plane import ControlPlane


def key_routes(plane: ControlPlane) -> APIRouter:
    """The routes under /admin/v1/keys."""
    router = APIRouter(prefix="/admin/v1/keys")

    @router.get("")
    async def keys() -> Keys:
        """Every key that was ever made, oldest first."""
        return Keys(keys=[ShownKey.of(record) for record in plane.state.keys.values()])

    @router.post("")
    async def create(order: KeyOrder, who: Approving, response: Response) -> NewKey:
        """Make a key. Its secret is in this answer and nowhere else."""
        key, secret = new_key(order.name, order.grant.grant())
        done = await plane.amend(lambda state: commands.create(state, key), who.command(order))
        response.headers["cache-control"] = "no-store"
        made = ShownKey.of(plane.state.keys[key.id])
        return NewKey(**outcome_fields(done), key=made, secret=secret)

    @router.post("/{name}/revoke")
    async def revoke(name: str, order: ReasonedOrder, who: Approving) -> Outcome:
        """Take a key, by its name or id, out of use for good. What runs under it may finish."""
        done = await plane.amend(lambda state: commands.revoke(state, name), who.command(order))
        return Outcome.of(done)

    return router
