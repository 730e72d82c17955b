"""What `--json` prints, as the types of the results say it: the JSON Schemas that ship, and docs/json.md.

A result says what its document holds (`asynccache.model.document`); types come from annotations, meanings from
docstrings. Documents that other programs read from a store are described here.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, ForwardRef, Literal, Union, get_args, get_origin, is_typeddict

from asynccache import api, errors
from asynccache.archive import Receipt
from asynccache.config.reader import ShownSetting
from asynccache.engine import events
from asynccache.model.document import Documented
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache_cli.backfill import Todo
from asynccache_cli.bench import Cases, Measured
from asynccache_cli.figures import CommandReceipt
from asynccache_cli.installer import Decoders
from asynccache_cli.json_line import SCHEMA
from asynccache_cli.options import Counted

Schema = dict[str, Any]
SCHEMAS: Final = Path(inspect.getfile(api)).parents[1] / "schemas"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True)
class Printed:
    """What a command prints: events or items, each any number of times, and a result, one of several forms of it."""

    result: tuple[type, ...]
    item: type | None = None
    events: bool = False


COMMANDS: Final = {
    "cache": Printed((api.Report,), events=True),
    "transmute": Printed((Counted,), api.Conversion),
    "backfill": Printed((api.Backfilled, api.BackfillRun), Todo, events=True),
    "resolve": Printed((api.Resolved,)),
    "env ls": Printed((Counted,), api.Listed),
    "env show": Printed((api.Shown,)),
    "env diff": Printed((api.Difference,)),
    "env history": Printed((Counted,), api.Move),
    "env get": Printed((api.Taken,)),
    "env alias": Printed((api.Aliased,)),
    "env rollback": Printed((api.RolledBack,)),
    "env export": Printed((api.Export,)),
    "env import": Printed((api.Imported,)),
    "warm": Printed((api.Warmed,)),
    "create": Printed((api.Created, Counted), api.Attempt),
    "envs": Printed((Counted,), api.OnDisk),
    "rm": Printed((api.Removed,)),
    "clean": Printed((api.Cleaned, api.StoreCleaned)),
    "pack": Printed((api.Packed, Counted), api.Packed),
    "installer publish": Printed((api.Published,)),
    "installer zstd": Printed((Decoders,)),
    "ls": Printed((Counted,), api.StoredArchive),
    "stat": Printed((api.Totals,)),
    "verify": Printed((api.StoreVerification, api.VerifyRun)),
    "audit": Printed((api.Audit, api.AuditRun), api.AuditFinding),
    "plan": Printed((api.Planned,)),
    "replicate": Printed((api.Replicated, api.BackfillRun), api.ReplicaFinding, events=True),
    "gc": Printed((api.Collected, api.Leases), api.Garbage),
    "report": Printed((api.StoreReport,)),
    "floor": Printed((api.Writers,)),
    "config": Printed((Counted,), ShownSetting),
    "doctor": Printed((Counted,), api.Finding),
    "bench": Printed((Measured, Cases)),
}
WITHOUT: Final = ("run", "shell")
"""Commands whose words may be another program's."""

_HEX40: Final = {"type": "string", "pattern": "^[0-9a-f]{40}$"}
_TEXTS: Final = {"type": "array", "items": {"type": "string"}}
_ARCHIVE: Final = {
    "type": "object",
    "required": ["format", "size"],
    "properties": {
        "format": {"type": "string"},
        "size": {"type": "integer"},
        "md5": {"type": "string"},
        "sha256": {"type": "string"},
    },
}
# name -> type, meaning; the value is there unless the type is in _MAYBE
STORED: Final[dict[type, tuple[str, dict[str, tuple[Schema, str]]]]] = {
    EnvID: (
        "Identity of an environment.",
        {
            "req_id": (_HEX40, "What was asked for."),
            "full_id": ({"type": "string"}, "What was found."),
            "arch": ({"type": "string"}, "conda platform."),
        },
    ),
    ResolvedEnvironment: (
        "The document of an environment as stores hold it; other programs read it.",
        {
            "deps": (_TEXTS, "What was asked for, `CATEGORY::VALUE`."),
            "sources": (_TEXTS, "Channels and indexes of the request."),
            "extras": (_TEXTS, "Flags of the request."),
            "packages": (
                {"type": "array", "items": {"type": "object"}},
                "Addresses, digests and keys of each package.",
            ),
            "resolved_on": ({"type": "string"}, "ISO 8601, with the zone that its writer gave, often none."),
            "resolved_by": ({"type": "string"}, "User name."),
            "resolved_archs": (_TEXTS, "Architectures that were resolved together."),
            "env_type": ({"type": "string"}, "`conda-only`, `pypi-only` or `mixed`."),
            "accurate_source": ({"type": "boolean"}, "Whether each package comes from where it is said."),
            "full_id_unique_keys": ({"type": "object"}, "What else makes it its own."),
        },
    ),
    Receipt: (
        "The receipt of a transmuted archive as stores hold it; `size` is in bytes.",
        {
            "version": ({"type": "integer"}, "Of this format."),
            "source": (_ARCHIVE, "Format, size and digests of what was read."),
            "derived": (_ARCHIVE, "The same of what was written."),
            "level": ({"type": "integer"}, "Of the compression."),
            "tool": ({"type": "string"}, "Name and version of the software."),
            "backends": (_TEXTS, "Libraries that took part."),
            "members": ({"type": "integer"}, "How many there are."),
            "unpacked_bytes": ({"type": "integer"}, "Of their contents together."),
            "verified": ({"type": "boolean"}, "Whether the two were compared."),
        },
    ),
    errors.AsyncCacheError: (
        "A failure; docs/errors.md has the table.",
        {
            "error": ({"type": "string"}, "Its class."),
            "message": ({"type": "string"}, "What happened, a sentence."),
            "expected": ({"type": "string"}, "What should have been there."),
            "found": ({"type": "string"}, "What was there instead."),
            "hint": ({"type": "string"}, "What to do next."),
            "cause": ({"type": "string"}, "Name of the exit code."),
            "exit_code": ({"type": "integer"}, "What the command ends with."),
            "retryable": ({"type": "boolean"}, "Whether the same may succeed later although nobody changes anything."),
            "report": ({"type": ["string", "null"]}, "Of a defect: file that holds the traceback."),
            "causes": (
                {"type": "array", "items": {"type": "object"}},
                "Of several failures: each distinct one, how many `failed` for it, and the `first`.",
            ),
        },
    ),
}
_MAYBE: Final = {"expected", "found", "hint", "report", "causes"}
_NAMES: Final = {**{name: getattr(api, name) for name in api.__all__}, **{c.__name__: c for c in STORED}, "Any": Any}


def _sections(text: str) -> tuple[str, dict[str, str]]:
    """Read a docstring: its first paragraph, and what it says of each attribute."""
    text = re.sub(r"\bNone\b", "null", text)
    head = " ".join(text.partition("\n\n")[0].split()).partition(". ")[0].rstrip(".") + "."
    found: dict[str, str] = {}
    _, _, listed = text.partition("Attributes:\n")
    for name, meaning in re.findall(r"^    (\w+): (.*(?:\n {6,}.*)*)", listed, re.MULTILINE):
        found[name] = " ".join(meaning.split())
    return head, found


def _evaluated(annotation: object, owner: object) -> Any:
    """Return the type that an annotation of a module stands for."""
    annotation = annotation.__forward_arg__ if isinstance(annotation, ForwardRef) else annotation
    if not isinstance(annotation, str):
        return annotation
    module = vars(sys.modules[str(getattr(owner, "__module__", ""))])
    return eval(annotation, {**_NAMES, **module})


def _attribute(cls: type, name: str) -> tuple[Any, str]:
    """Return the type of a field or property, and what it means."""
    for base in cls.__mro__:
        made = vars(base).get(name)
        if isinstance(made, property) and made.fget is not None:
            return _evaluated(made.fget.__annotations__["return"], made.fget), _sections(inspect.getdoc(made) or "")[0]
        annotated = vars(base).get("__annotations__", {})
        if name in annotated:
            return _evaluated(annotated[name], base), _sections(inspect.getdoc(base) or "")[1].get(name, "")
    return _of_init(cls, name)


def _of_init(cls: type, name: str) -> tuple[Any, str]:
    """Return the same of an attribute that `__init__` annotates."""
    (function,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(cls.__init__)).strip()).body  # type: ignore[misc]
    for node in ast.walk(function):
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == f"self.{name}":
            meaning = _sections(inspect.getdoc(cls) or "")[1].get(name, "")
            return _evaluated(ast.unparse(node.annotation), cls), meaning
    raise LookupError(f"{cls.__name__} has no {name}")


@dataclass(frozen=True)
class Field:
    """A field of a document: its JSON name, its schema, what it means, and whether it may be absent.

    `of` is the document that it is a part of, where it is there only when all of that is.
    """

    name: str
    schema: Schema
    meaning: str
    maybe: bool = False
    of: str = ""


class Documents:
    """Makes schemas of types, and collects those that are documents of their own."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[type, str, list[Field]]] = {}

    def schema(self, kind: Any) -> Schema:
        """Return the schema of a type."""
        origin, arguments = get_origin(kind), get_args(kind)
        if origin in {Union, UnionType}:
            return _one_of([self.schema(each) for each in arguments])
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin is Counter or kind is Counter:
            return {"type": "object", "additionalProperties": {"type": "integer"}}
        if origin is tuple and Ellipsis not in arguments:
            return {"type": "array", "prefixItems": [self.schema(a) for a in arguments], "minItems": len(arguments)}
        if origin is not None and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.schema(arguments[1])}
        if origin is not None and issubclass(origin, Collection):
            return {"type": "array", "items": self.schema(arguments[0])}
        return self._plain(kind)

    def _plain(self, kind: Any) -> Schema:
        if kind is Any:
            return {}
        simple = {bool: "boolean", int: "integer", float: "number", str: "string", NoneType: "null"}
        if kind in simple:
            return {"type": simple[kind]}
        if kind is datetime:
            return {"type": "string", "format": "date-time"}
        if issubclass(kind, Enum):
            return {"enum": [str(each) for each in kind]}
        stored = next((each for each in STORED if issubclass(kind, each)), None)
        if stored is not None or issubclass(kind, Documented):
            self.take(stored or kind)
            return {"$ref": f"#/$defs/{(stored or kind).__name__}"}
        if hasattr(kind, "as_document"):
            raise LookupError(f"{kind.__name__} does not say what its document holds")
        return {"type": "string"}  # what has a text, as paths and names have

    def take(self, kind: type) -> list[Field]:
        """Return the fields of a document, and remember it."""
        if kind.__name__ not in self.known:
            head = STORED[kind][0] if kind in STORED else _sections(inspect.getdoc(kind) or "")[0]
            self.known[kind.__name__] = (kind, head, [])
            self.known[kind.__name__][2].extend(self.fields(kind))
        return self.known[kind.__name__][2]

    def fields(self, kind: type) -> list[Field]:
        """Return the fields of a document."""
        if kind in STORED:
            return [Field(name, type_, text, name in _MAYBE) for name, (type_, text) in STORED[kind][1].items()]
        if is_typeddict(kind):
            return [
                Field(name, self.schema(_attribute(kind, name)[0]), _attribute(kind, name)[1]) for name in _keys(kind)
            ]
        assert issubclass(kind, Documented), kind
        found: dict[str, Field] = {}
        for text in kind.DOCUMENT or [each.name for each in fields(kind)]:  # type: ignore[arg-type]
            attribute, _, name = text.partition(" as ")
            type_, meaning = _attribute(kind, attribute.removeprefix("*"))
            inlined = [each for each in get_args(type_) or [type_] if each is not NoneType]
            if attribute.startswith("*") or (type_ is EnvID and not name):
                optional = inlined != [type_]
                stored = next((each for each in STORED if issubclass(inlined[0], each)), inlined[0])
                of = stored.__name__ if optional else ""
                for each in self.take(stored) if optional else self.fields(stored):
                    if not optional or each.name not in found:
                        found[each.name] = replace(each, maybe=each.maybe or optional, of=of)
            else:
                found[name or attribute] = Field(name or attribute, self.schema(type_), meaning)
        return list(found.values())


def _keys(kind: type) -> list[str]:
    return list(kind.__annotations__)


def _one_of(schemas: list[Schema]) -> Schema:
    if all(set(each) == {"type"} for each in schemas):
        return {"type": [each["type"] for each in schemas]}
    return {"anyOf": schemas}


def _object(head: str, found: list[Field], **constants: object) -> Schema:
    """Return the schema of a document; fields that it does not name may be there."""
    assert not {*constants} & {each.name for each in found}, "the line itself has a field of that name"
    return {
        "type": "object",
        "description": head,
        "required": [*constants, *(each.name for each in found if not each.maybe)],
        "properties": {
            **{name: {"const": value} for name, value in constants.items()},
            **{f.name: {**f.schema, **({"description": f.meaning} if f.meaning else {})} for f in found},
        },
    }


def told_events() -> list[type[events.Event]]:
    """Return all kinds of events."""
    return [each for each in vars(events).values() if isinstance(each, type) and issubclass(each, events.Event)][1:]


def _lines(documents: Documents, printed: Printed) -> Iterator[tuple[str, type, str, list[Field], dict[str, object]]]:
    """Yield the lines of a command: name, class, what it is, fields, and what is always the same."""
    for kind in told_events() if printed.events else ():
        head = _sections(inspect.getdoc(kind) or "")[0]
        constants = {"type": "event", "schema": SCHEMA, "event": kind.__name__}
        yield f"event {kind.__name__}", kind, head, documents.fields(kind), constants
    for name, kinds in (("item", [printed.item] if printed.item else []), ("result", printed.result)):
        for kind in kinds:
            head = _sections(inspect.getdoc(kind) or "")[0]
            called = name if len(kinds) == 1 else f"{name} {kind.__name__}"
            yield called, kind, head, documents.fields(kind), {"type": name, "schema": SCHEMA}


def schemas() -> dict[str, Schema]:
    """Return file name -> the schema of one line."""
    found: dict[str, Schema] = {}
    for command, printed in COMMANDS.items():
        documents = Documents()
        lines = {name: _object(head, said, **same) for name, _, head, said, same in _lines(documents, printed)}
        nested = {name: _object(head, said) for name, (_, head, said) in documents.known.items()}
        named = {name.replace(" ", "."): schema for name, schema in lines.items()}
        found[file_of(command)] = {
            "$schema": DIALECT,
            "title": f"asynccache {command} --json",
            "description": "One line of the output.",
            "anyOf": [{"$ref": f"#/$defs/{name}"} for name in named],
            "$defs": named | {name: nested[name] for name in sorted(nested)},
        }
    documents = Documents()
    error = documents.fields(errors.AsyncCacheError)
    about = "The last line on standard error of a command that failed."
    found["error.json"] = {"$schema": DIALECT, "title": "error", **_object(about, error, type="error", schema=SCHEMA)}
    about = _sections(inspect.getdoc(CommandReceipt) or "")[0]
    receipt = _object(about, _receipt(documents), type="receipt", schema=SCHEMA)
    found["receipt.json"] = {"$schema": DIALECT, "title": "asynccache --receipt", **receipt}
    return found


def _receipt(documents: Documents) -> list[Field]:
    """Return the fields of what `--receipt` writes: of a command that failed also those of its error."""
    said = documents.fields(CommandReceipt)
    error = documents.fields(errors.AsyncCacheError)
    named = {each.name for each in said}
    return [*said, *(replace(e, maybe=True, of="AsyncCacheError") for e in error if e.name not in named)]


def file_of(command: str) -> str:
    """Return the name of a command's schema."""
    return f"{command.replace(' ', '-')}.json"


def written(schema: Schema) -> str:
    """Return a schema as it lies in the package."""
    return json.dumps(schema, indent=1) + "\n"


HEAD: Final = """\
# JSON

Every command but `run` and `shell` takes `--json`. What it prints is a contract; this page and the JSON Schemas are
made of the types of the results. A `--json` behind `run ENV --` is your own command's.

- Standard output has one JSON object a line, in UTF-8. The first two fields of each are its `type` and the `schema`,
  the version of this contract: {schema}.
- `event`: something happened meanwhile (`cache`, `backfill`). `item`: one of what the command lists. `result`: the
  last line, always; most commands print nothing else. Output without a result is not whole: the command failed or was
  stopped.
- `error`: the last line on standard error of a command that ends with a code other than 0, also of one that was
  mistyped or interrupted. Sentences that concern somebody who watches may come before it. A command that did a part
  of what was asked for prints its result and then fails.
- Times are ISO 8601 with their zone; days are of UTC. Durations are in seconds and sizes in bytes. Names say so, but
  for `size` in what lies in stores in the same format.
- No value is a credential.

```console
$ asynccache ls --json
$ asynccache stat --json
```

`jq -r 'select(.type == "item").key'` takes the keys of the first, `jq .packages` the count of the second.

## What may change

Without notice: further fields anywhere, further kinds of events, items and results where a command had none of them,
further values where a field has one of several (causes, kinds, levels), the order of fields, and the wording of every
sentence. Read what you know by its name, and pass over the rest.

`schema` rises, and the [changelog](../CHANGELOG.md) says so, when a field goes or is called otherwise, or when its type
or meaning changes. That of receipts, documents and other objects in a store is their own and never changes.

## Schemas

The package has a JSON Schema (draft 2020-12) of the lines of each command, and those of errors and receipts:

```python
import json
from importlib.resources import files

schema = json.loads((files("asynccache") / "schemas" / "ls.json").read_text())
```
"""


def page() -> str:
    """Write docs/json.md."""
    documents = Documents()
    parts = [HEAD.format(schema=SCHEMA)]
    for command, printed in COMMANDS.items():
        parts.append(f"## {command}\n")
        if printed.events:
            parts.append("[Events](#events), then the result.\n" if not printed.item else _WITH_ITEMS[command])
        for name, _kind, head, said, _same in _lines(documents, Printed(printed.result, printed.item)):
            if printed.item and name == "result" and printed.result == (Counted,):
                parts.append(
                    "The result has `count` and `failed`: the items, and those that say that something failed.\n"
                )
                continue
            parts.append(f"`{name.split()[0]}`: {head}\n\n{_table(said)}")
    parts.append("## Events\n\n| event | when | fields |\n| --- | --- | --- |")
    for kind in told_events():
        names = ", ".join(f"`{each.name}`" for each in documents.fields(kind))
        parts.append(f"| `{kind.__name__}` | {_sections(inspect.getdoc(kind) or '')[0]} | {names} |")
    parts.append("\n## Error\n\n" + _table(documents.fields(errors.AsyncCacheError)))
    parts.append(
        "## Receipt\n\nThe line that `--receipt FILE` writes, of `type` `receipt`.\n\n" + _table(_receipt(documents))
    )
    parts.append("## Nested documents\n")
    for name, (nested, head, said) in sorted(documents.known.items()):
        if nested is not errors.AsyncCacheError:
            parts.append(f"### {name}\n\n{head}\n\n{_table(said)}")
    return "\n".join(parts).rstrip() + "\n"


_WITH_ITEMS: Final = {
    "backfill": "[Events](#events), or with `--dry-run` items; then the result.\n",
    "replicate": "[Events](#events), and items; then the result.\n",
}


def _table(said: list[Field]) -> str:
    rows = ["| field | type | meaning |", "| --- | --- | --- |"]
    for each in said:
        row = f"| `{each.name}` | {_word(each.schema)}{', may lack' if each.maybe else ''} | {each.meaning} |"
        rows.append(f"| all of {_link(each.of)} | | or none of them |" if each.of else row)
    return "\n".join([*dict.fromkeys(rows), ""])


def _word(schema: Schema) -> str:
    """Say a type in a word or two."""
    words: dict[str, Callable[[], str]] = {
        "$ref": lambda: _link(str(schema["$ref"]).rpartition("/")[2]),
        "enum": lambda: "one of " + ", ".join(f"`{each}`" for each in schema["enum"]),
        "anyOf": lambda: " or ".join(map(_word, schema["anyOf"])),
        "prefixItems": lambda: f"list of {len(schema['prefixItems'])}",
        "items": lambda: f"list of {_word(schema['items'])}",
        "additionalProperties": lambda: f"map to {_word(schema['additionalProperties'])}",
        "format": lambda: "time",
    }
    for name, word in words.items():
        if name in schema:
            return word()
    kinds = schema.get("type", "any")
    return " or ".join(kinds) if isinstance(kinds, list) else str(kinds)


def _link(name: str) -> str:
    return "[error](#error)" if name == "AsyncCacheError" else f"[{name}](#{name.lower()})"
