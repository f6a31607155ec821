"""The tables of figures, made from benchmarks/results/*.json and registry/*/*/report.json.

A page holds `<!-- table: NAME -->` and `<!-- end -->`; what stands between is made by the function
that TABLES calls NAME. To add a table: a function here, in a file of its own, that returns
Markdown (`figures.py` reads the files), and its name in TABLES.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scripts.docs.tables.adapters import adapters
from scripts.docs.tables.capacity import (
    capacity_engine,
    capacity_gateway,
    capacity_guard,
    capacity_memory,
)
from scripts.docs.tables.control import control
from scripts.docs.tables.engine import engine, engine_gpu
from scripts.docs.tables.forgetting import forgetting
from scripts.docs.tables.gateway import gateway
from scripts.docs.tables.guard import guard_answers, guard_live, guard_pool, guard_rates
from scripts.docs.tables.many_adapters import many_adapters

TABLES: Mapping[str, Callable[[], str]] = {
    "adapters": adapters,
    "capacity-engine": capacity_engine,
    "capacity-gateway": capacity_gateway,
    "capacity-guard": capacity_guard,
    "capacity-memory": capacity_memory,
    "control": control,
    "engine": engine,
    "engine-gpu": engine_gpu,
    "forgetting": forgetting,
    "gateway": gateway,
    "guard-answers": guard_answers,
    "guard-live": guard_live,
    "guard-pool": guard_pool,
    "guard-rates": guard_rates,
    "many-adapters": many_adapters,
}
