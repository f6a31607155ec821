"""An edited text parsed from what the last one held: an edit costs what it changes. No I/O.

A text is a head and one block of lines for each workflow. Each block starts with its workflow's
name, at the same column and outside of any quotes or brackets. YAML is read from front to back, so
such a block says the same wherever it stands, as long as it uses no anchors; a block that is known
is not read again. Whatever does not fit this, and whatever has a fault, is parsed whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from operator import attrgetter

import yaml

from gateway.errors import TableRejected
from gateway.routesfile.document import compose
from gateway.routesfile.parse import (
    Entry,
    RoutesFile,
    parse_with_nodes,
    parse_workflows,
)

# Line ends that YAML counts and this does not, and what ends a document.
_UNFIT = re.compile("\\r(?!\\n)|[\x85\u2028\u2029\ufeff]|^(?:---|\\.\\.\\.|%)", re.MULTILINE)
_ANCHOR = re.compile(r"(?<![^\s\[\]{},:?-])[&*]")  # or what only looks like one


@dataclass(frozen=True, slots=True)
class Blocks:
    """What a text held: what stands before its first workflow, the column of the names, and each
    block's entry."""

    head: str
    indent: int
    entries: Mapping[str, Entry]


def parse_known(text: str, file: str, known: Blocks | None) -> tuple[RoutesFile, Blocks | None]:
    """As `parse`, from `known` blocks where that says the same. Answers the blocks for next time,
    None where the text does not fall into such. Raises TableRejected with all problems found."""
    if known is not None and (quick := _from_known(text, file, known)) is not None:
        return quick
    found, root = parse_with_nodes(text, file)
    return found, _blocks(text, found, root)


def _from_known(text: str, file: str, known: Blocks) -> tuple[RoutesFile, Blocks] | None:
    if not text.startswith(known.head) or _UNFIT.search(text):
        return None
    blocks = _split(text, len(known.head), known.indent)
    if not blocks:
        return None
    entries = list(map(known.entries.get, blocks))
    fresh = [at for at, entry in enumerate(entries) if entry is None]
    if 2 * len(fresh) > len(blocks):
        return None  # little is known of it
    for at in fresh:
        entries[at] = _entry(blocks[at], file, known.indent)
    found = [entry for entry in entries if entry is not None]
    names = [entry.workflow for entry in found]
    if len(set(names)) != len(blocks):
        return None  # one says anything else, or a name stands twice
    lines = _Lines(known.head, blocks, names)
    kept = Blocks(known.head, known.indent, dict(zip(blocks, found, strict=True)))
    if names != sorted(names):
        found.sort(key=attrgetter("workflow"))
    return RoutesFile(tuple(found), lines, file), kept


class _Lines(Mapping[str, int]):
    """The line of each block's name. Counted when the first is asked for: where there is no fault,
    none is."""

    def __init__(self, head: str, blocks: Sequence[str], names: Sequence[str]) -> None:
        self._head = head
        self._blocks = blocks
        self._names = names

    @cached_property
    def _counted(self) -> Mapping[str, int]:
        heights = (block.count("\n") for block in self._blocks)
        first = self._head.count("\n") + 1
        return dict(zip(self._names, accumulate(heights, initial=first), strict=False))

    def __getitem__(self, name: str) -> int:
        return self._counted[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _entry(block: str, file: str, indent: int) -> Entry | None:
    """The one entry that a block states by itself; None where it states anything else."""
    if _anchored(block):
        return None
    try:
        root = compose("workflows:\n" + block)
        if not isinstance(root, yaml.MappingNode) or len(root.value) != 1:
            return None
        workflows = root.value[0][1]
        if not _is_block_of(workflows, indent) or len(workflows.value) != 1:
            return None
        return parse_workflows(workflows, file).entries[0]
    except (yaml.YAMLError, TableRejected, RecursionError):
        return None


def _blocks(text: str, found: RoutesFile, root: yaml.MappingNode) -> Blocks | None:
    """The blocks of a text that was parsed whole."""
    key, workflows = root.value[-1]
    if key.value != "workflows" or root.flow_style or _UNFIT.search(text) or _anchored(text):
        return None
    indent = workflows.start_mark.column
    if not _is_block_of(workflows, indent) or indent == 0:
        return None
    head = "".join(text.splitlines(keepends=True)[: workflows.value[0][0].start_mark.line])
    blocks = _split(text, len(head), indent)
    by_line = {line: name for name, line in found.lines.items()}
    entries = {entry.workflow: entry for entry in found.entries}
    result: dict[str, Entry] = {}
    line = head.count("\n") + 1
    for block in blocks:
        if (name := by_line.get(line)) is None:
            return None  # a line of a text in quotes, that looks like a name
        result[block] = entries[name]
        line += block.count("\n")
    return Blocks(head, indent, result) if len(result) == len(entries) else None


def _split(text: str, start: int, indent: int) -> list[str]:
    """The blocks after the head; none where what follows it is not the first of them."""
    name = re.compile(rf"^(?= {{{indent}}}[^ #\r\n])", re.MULTILINE)
    before, *blocks = name.split(text[start:])
    return [] if before else blocks


def _is_block_of(node: yaml.Node, indent: int) -> bool:
    """Whether the node is a mapping of lines whose keys stand at column `indent`."""
    return (
        isinstance(node, yaml.MappingNode)
        and not node.flow_style
        and all(key.start_mark.column == indent for key, _ in node.value)
    )


def _anchored(text: str) -> bool:
    """Whether a well-formed text has anchors or aliases."""
    if _ANCHOR.search(text) is None:
        return False
    try:
        events = yaml.parse("workflows:\n" + text if text.startswith(" ") else text)
        return any(getattr(event, "anchor", None) for event in events)
    except yaml.YAMLError:
        return True
