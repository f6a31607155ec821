"""`trainer evaluate`: any suite, asked of the base, an adapter or a running gateway's workflow."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from gateway.model.source import ModelFiles, resolve_model
from gateway.registry.opening import open_registry
from gateway.registry.values import AdapterArtifact
from gateway.routing.table import AdapterRef
from trainer.errors import EvaluationError
from trainer.evals.checks.base import Need
from trainer.evals.observe import needs_of
from trainer.evals.progress import progress_on
from trainer.evals.results import write_json
from trainer.evals.run import evaluate
from trainer.evals.suite import DEFAULT, Suite, read_suites
from trainer.evals.table import evaluation_table
from trainer.evals.targets.base import BASE, Target
from trainer.evals.values import Evaluation, Split
from trainer.folder import RunFolder

_KEY = "GATEWAY_API_KEY"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("evaluate")(evaluate_command)


def evaluate_command(
    suite: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FOLDER",
            help="A suite's folder, or a folder of suites; may be repeated. The shipped "
            f"guardrails are called {DEFAULT}.",
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            help="What is asked: base, an adapter's folder, NAME@VERSION, or a gateway's workflow "
            "as http://host:8000/v1#workflow; may be repeated.",
        ),
    ] = None,
    split: Annotated[Split, typer.Option(help="Which part of each suite.")] = Split.ALL,
    model: Annotated[
        str | None, typer.Option(help="The base model: a folder or a hub id.", show_default=False)
    ] = None,
    registry: Annotated[
        str,
        typer.Option(help="Where NAME@VERSION is looked up: a folder or URL."),
    ] = "registry",
    folder: Annotated[
        Path | None,
        typer.Option(help="Keep each model's results there, and go on with those already there."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write every item's result there.")] = None,
) -> None:
    """Ask suites of one or more models and show what came out."""
    console = Console()
    suites = read_suites(suite or [DEFAULT])
    done = asyncio.run(_evaluate(suites, split, target or [BASE], model, registry, folder))
    if out is not None:
        write_json(out, {"evaluations": [asdict(each) for each in done]})
    if as_json:
        typer.echo(json.dumps({"evaluations": [summary(each) for each in done]}, indent=2))
    else:
        console.print(evaluation_table(done))


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """Means and figures without the items, for machines."""
    return {
        "model": evaluation.model,
        "split": evaluation.split,
        "base_fingerprint": evaluation.base_fingerprint,
        "adapter_digest": evaluation.adapter_digest,
        "seconds": round(evaluation.seconds, 1),
        "suites": [
            {
                "suite": result.suite,
                "digest": result.digest,
                "items": len(result.items),
                "scores": {m.check: result.mean(m.check) for m in result.measures},
                "figures": result.figures,
            }
            for result in evaluation.suites
        ],
    }


async def _evaluate(
    suites: Sequence[Suite],
    split: Split,
    named: Sequence[str],
    model: str | None,
    registry: str,
    folder: Path | None,
) -> list[Evaluation]:
    """The evaluations of the named targets, in that order; the base's first where it is needed."""
    # Some checks compare with the base's answers: it is asked too, named or not.
    with_base = BASE in named or any(Need.REFERENCE in needs_of(suite) for suite in suites)
    say = Console(stderr=True)
    files = await asyncio.to_thread(resolve_model, model, progress=lambda line: say.print(line))
    async with AsyncExitStack() as stack:
        base, candidates = await _targets(stack, named, files, registry, with_base=with_base)
        done = await evaluate(
            suites,
            split,
            base=base,
            candidates=candidates,
            folder=RunFolder(folder) if folder else None,
            progress=progress_on(say),
        )
    return list(done.values())


async def _targets(
    stack: AsyncExitStack,
    named: Sequence[str],
    files: ModelFiles,
    registry: str,
    *,
    with_base: bool,
) -> tuple[Target | None, list[Target]]:
    """The base, if it is asked, and every other target; the engine is closed with `stack`."""
    # Late: torch takes seconds to import, and a wrong suite should be said at once.
    from gateway.engine.text import HuggingFaceText
    from trainer.evals.targets.engine import EngineHost, EngineTarget, open_engine
    from trainer.evals.targets.http import HttpTarget

    others = [name for name in dict.fromkeys(named) if name != BASE]
    served = [name for name in others if name.startswith(("http://", "https://"))]
    adapters = {name: _adapter(name, registry, files) for name in others if name not in served}
    targets: dict[str, Target] = {}
    base: Target | None = None
    if served:
        text = HuggingFaceText(files.path)
        for name in served:
            url, _, workflow = name.partition("#")
            if not workflow:
                raise EvaluationError(f"{name} names no workflow; write {url}#WORKFLOW")
            asked = HttpTarget(
                url,
                workflow,
                text=text,
                base_fingerprint=files.fingerprint,
                key=os.environ.get(_KEY),
            )
            stack.push_async_callback(asked.aclose)
            targets[name] = asked
    if with_base or adapters:
        max_rank = max([16, *(artifact.rank for artifact in adapters.values())])
        engine = await asyncio.to_thread(open_engine, files, max_rank=max_rank)
        stack.push_async_callback(engine.close)
        host = EngineHost(engine)
        base = EngineTarget(host) if with_base else None
        for name, artifact in adapters.items():
            targets[name] = EngineTarget(host, artifact)
    return base, [targets[name] for name in others]


def _adapter(name: str, registry: str, files: ModelFiles) -> AdapterArtifact:
    """The adapter in the folder `name`, else the registry's. Raises GatewayError."""
    from trainer.evals.targets.engine import adapter_at

    folder = Path(name)
    if folder.is_dir():
        return adapter_at(folder, folder.resolve().name, base_fingerprint=files.fingerprint)
    return open_registry(registry).get(AdapterRef.parse(name))
