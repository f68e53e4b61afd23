"""Structs as JSON Schema: what msgspec says of them, with the texts that the source has below their fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct, inspect

from tools.documents.fields import docs

Json: TypeAlias = dict[str, Any]  # a document is built and walked field by field
REF = "#/components/schemas/"


@dataclasses.dataclass
class Schemas:
    """The schemas of some structs and of what they hold.

    Attributes:
        components: name → schema, sorted by name.
    """

    components: Json
    _names: dict[type[Struct], str]

    def ref(self, kind: type[Struct]) -> Json:
        """The reference to one of them."""
        return {"$ref": REF + self._names[kind]}

    def of(self, kind: type[Struct]) -> Json:
        """The schema itself."""
        schema: Json = self.components[self._names[kind]]
        return schema

    def resolved(self, schema: Json) -> Json:
        """The schema behind a reference, or itself."""
        while "$ref" in schema:
            schema = self.components[schema["$ref"].removeprefix(REF)]
        return schema


def schemas_of(kinds: Iterable[type[Struct]]) -> Schemas:
    """The schemas of ``kinds`` and of every struct that is reached from them."""
    kinds = list(dict.fromkeys(kinds))
    reached = sorted({*kinds, *_reached(kinds)}, key=lambda kind: (kind.__module__, kind.__name__))
    refs, components = msgspec.json.schema_components(reached, ref_template=REF + "{name}")
    found = {kind: ref["$ref"].removeprefix(REF) for kind, ref in zip(reached, refs, strict=True)}
    names = {kind: name if name == kind.__name__ else _apart(kind) for kind, name in found.items()}
    if len({*names.values()}) != len(names):
        raise ValueError("two structs of one name: one of them needs another name")
    components = _renamed(components, {REF + name: REF + names[kind] for kind, name in found.items()})
    components = {names[kind]: components[name] for kind, name in found.items()}
    for kind, name in names.items():
        _describe(components[name], docs(kind))
    return Schemas(dict(sorted(components.items())), names)


def _apart(kind: type[Struct]) -> str:
    """A name where another module has a struct of the same one: a frame says that it is one."""
    return f"{kind.__name__}Frame" if kind.__struct_config__.tag is not None else kind.__name__


def _renamed(value: Any, names: dict[str, str]) -> Any:
    """The value with other references."""
    if isinstance(value, dict):
        return {key: _renamed(part, names) for key, part in value.items()}
    if isinstance(value, list):
        return [_renamed(part, names) for part in value]
    return names.get(value, value) if isinstance(value, str) else value


def without_null(schema: Json) -> Json:
    """What a field holds when it holds something: ``null`` says the same as leaving it out."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) != 1 or len(schema["anyOf"]) == 1:
        return schema
    return {**options[0], **{key: value for key, value in schema.items() if key not in ("anyOf", "default")}}


def _describe(schema: Json, texts: dict[str, str]) -> None:
    for name, field in schema.get("properties", {}).items():
        if name in texts:
            own = field.get("description", "")
            field["description"] = f"{texts[name]} ({own.rstrip('.')})" if own else texts[name]


def _reached(kinds: list[type[Struct]]) -> Iterator[type[Struct]]:
    seen: set[type[Struct]] = set()
    waiting: list[object] = list(inspect.multi_type_info(kinds))
    while waiting:
        item = waiting.pop()
        if isinstance(item, inspect.StructType):
            if item.cls in seen:
                continue
            seen.add(item.cls)
            yield item.cls
            waiting += [field.type for field in item.fields]
        elif isinstance(item, inspect.Type):
            for name in item.__struct_fields__:
                value = getattr(item, name)
                waiting += value if isinstance(value, tuple | list) else [value]
