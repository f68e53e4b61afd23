"""The page for people: both documents as one static HTML page. Made from the documents alone; no script, nothing inline."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from tools.documents.schemas import REF, Json

STYLE = """\
:root { color-scheme: light dark; --line: #8885; --soft: #8882; --link: #0a63c9; }
@media (prefers-color-scheme: dark) { :root { --link: #7ab8ff; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 64rem; padding: 1rem 1.25rem 4rem; }
a { color: var(--link); }
h1 { line-height: 1.2; }
h2 { border-bottom: 1px solid var(--line); margin-top: 3rem; padding-bottom: .25rem; }
h3 { margin: 2rem 0 .5rem; }
code, pre { font: .875rem/1.5 ui-monospace, monospace; }
code { background: var(--soft); border-radius: .25rem; padding: .1em .3em; }
pre { background: var(--soft); border-radius: .5rem; overflow-x: auto; padding: .75rem 1rem; }
pre code { background: none; padding: 0; }
details { border: 1px solid var(--line); border-radius: .5rem; margin: .5rem 0; padding: 0 1rem; }
summary { cursor: pointer; margin: 0 -1rem; padding: .5rem 1rem; }
summary:focus-visible { border-radius: .5rem; outline: 2px solid var(--link); }
.method { display: inline-block; font-weight: 600; min-width: 4.5rem; }
.what { color: color-mix(in srgb, currentcolor 75%, transparent); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0 1rem; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .75rem .35rem 0; text-align: left; vertical-align: top; }
nav ul { columns: 14rem; list-style: none; padding: 0; }
"""


def page(openapi: Json, asyncapi: Json) -> str:
    """The whole page."""
    return "\n".join([*_head(openapi, asyncapi), *_operations(openapi), *_frames(asyncapi), *_codes(asyncapi), "</main>", ""])


def _head(openapi: Json, asyncapi: Json) -> Iterator[str]:
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Homing: interfaces</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<link rel="stylesheet" href="/docs/style.css">\n</head>\n<main>\n<h1>Homing</h1>'
    yield f"<p>{escape(openapi['info']['summary'])}, and the WebSocket protocol; version {openapi['info']['version']}."
    yield '<a href="/openapi.json">openapi.json</a> (OpenAPI 3.1) and <a href="/asyncapi.json">asyncapi.json</a> (AsyncAPI 3.0)'
    yield "say the same to programs.</p>"
    yield "<nav><ul>"
    for name in _tags(openapi):
        yield f'<li><a href="#tag-{name}">{name}</a></li>'
    yield '<li><a href="#websocket">WebSocket</a></li><li><a href="#codes">Codes</a></li>\n</ul></nav>'


def _tags(openapi: Json) -> list[str]:
    return list(dict.fromkeys(operation["tags"][0] for path in openapi["paths"].values() for operation in path.values()))


# ---------------------------------------------------------------- operations


def _operations(openapi: Json) -> Iterator[str]:
    yield '<h2 id="rest">REST</h2>'
    yield from _prose(openapi["info"]["description"])
    for tag in _tags(openapi):
        yield f'<h3 id="tag-{tag}">{tag}</h3>'
        for path, methods in openapi["paths"].items():
            for method, operation in methods.items():
                if operation["tags"][0] == tag:
                    yield from _operation(path, method.upper(), operation, openapi)


def _operation(path: str, method: str, operation: Json, document: Json) -> Iterator[str]:
    yield f'<details id="{operation["operationId"]}"><summary><span class="method">{method}</span> <code>{escape(path)}</code>'
    yield f'<span class="what">{escape(operation["summary"])}</span></summary>'
    limiter = operation.get("x-limiter")
    needs = "; ".join(f"with the {name.replace('_', ' ')}" for wanted in operation["security"] for name in wanted) or "without a token"
    yield f"<p>Asked {needs}.{' Limiter ' + _code(limiter['name']) + '.' if limiter else ''}</p>"
    parameters = operation.get("parameters", [])
    if parameters:
        rows = ((p["name"], _kind(p["schema"]), "required" if p["required"] else "", p.get("description", "")) for p in parameters)
        yield from _table(("parameter", "type", "", ""), ((_code(n), k, r, _inline(t)) for n, k, r, t in rows))
    if "requestBody" in operation:
        yield "<p>Body:</p>"
        yield from _content(operation["requestBody"]["content"], document)
    responses = {status: _resolved(answer, document) for status, answer in operation["responses"].items()}
    for status, answer in responses.items():
        if status < "400" or "application/problem+json" not in answer.get("content", {}):
            yield f"<p>{status}: {_inline(answer['description'])}</p>"
            yield from _content(answer.get("content", {}), document)
    problems = [(s, a["description"]) for s, a in responses.items() if "application/problem+json" in a.get("content", {})]
    if problems:
        yield from _table(("status", "code and what to do"), ((s, _inline(t)) for s, t in problems))
    yield "</details>"


def _content(content: Json, document: Json) -> Iterator[str]:
    for kind, value in content.items():
        if "example" not in value:
            yield f"<p><code>{escape(kind)}</code></p>"
            continue
        yield from _fields(value["schema"], document)
        yield _example(value["example"])


# ---------------------------------------------------------------- frames


def _frames(asyncapi: Json) -> Iterator[str]:
    yield '<h2 id="websocket">WebSocket</h2>'
    yield from _prose(asyncapi["info"]["description"])
    messages = asyncapi["components"]["messages"]
    asked = [name for name in asyncapi["operations"] if name in messages]
    for title, ops in (("From the client", asked), ("From the node", [op for op in messages if op not in asked])):
        yield f"<h3>{title}</h3>"
        for op in ops:
            yield from _frame(messages[op], asyncapi["operations"].get(op, {}), asyncapi)


def _frame(message: Json, operation: Json, document: Json) -> Iterator[str]:
    yield f'<details id="op-{message["name"]}"><summary><code>{message["name"]}</code>'
    yield f'<span class="what">{_inline(message.get("summary", ""))}</span></summary>'
    answers = [ref["$ref"].rpartition("/")[2] for ref in operation.get("reply", {}).get("messages", ())]
    if answers:
        links = ", ".join(f'<a href="#op-{op}">{_code(op)}</a>' for op in answers)
        yield f"<p>Answered by {links}.</p>"
    yield from _fields(message["payload"], document)
    for example in message["examples"]:
        yield _example(example["payload"])
    yield "</details>"


def _codes(asyncapi: Json) -> Iterator[str]:
    yield '<h2 id="codes">Codes</h2>'
    rows = (
        (
            str(row["code"]),
            _code(row["name"]),
            f"<strong>{row['do']}</strong>",
            _inline(row["when"]),
            ", ".join(str(status) for status in row.get("status", ())),
            str(row.get("close", "")),
        )
        for row in asyncapi["x-errors"]
    )
    yield from _table(("code", "name", "do", "when", "HTTP", "close"), rows)


# ---------------------------------------------------------------- parts


def _resolved(answer: Json, document: Json) -> Json:
    """The response behind a reference, or itself."""
    name = answer.get("$ref", "").rpartition("/")[2]
    found: Json = document["components"]["responses"][name] if name else answer
    return found


def _fields(schema: Json, document: Json) -> Iterator[str]:
    components = document["components"]["schemas"]
    while "$ref" in schema:
        schema = components[schema["$ref"].removeprefix(REF)]
    required = schema.get("required", ())
    rows = (
        (_code(name), _kind(part, components), "required" if name in required else "", _inline(part.get("description", "")))
        for name, part in schema.get("properties", {}).items()
        if name != "op"
    )
    yield from _table(("field", "type", "", ""), rows)


def _kind(schema: Json, components: Json | None = None) -> str:
    """A schema in a few words, as HTML."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REF)
        inner = (components or {}).get(name, {}).get("properties", {})
        return f"{escape(name)}{' {' + escape(', '.join(inner)) + '}' if inner else ''}"
    if "anyOf" in schema:
        return " or ".join(_kind(option, components) for option in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(_code(str(value)) for value in schema["enum"])
    words = str(schema.get("type", "any"))
    if words == "array" and isinstance(schema.get("items"), dict):
        words = f"array of {_kind(schema['items'], components)}"
    low, high = schema.get("minLength", schema.get("minimum")), schema.get("maxLength", schema.get("maximum", schema.get("maxItems")))
    if low is not None or high is not None:
        words += f", {'' if low is None else f'{low:,}'} … {'' if high is None else f'{high:,}'}"
    if "pattern" in schema:
        words += f", {_code(schema['pattern'])}"
    return words


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    if lines:
        yield f'<div class="wide"><table><tr>{"".join(f"<th>{cell}</th>" for cell in head)}</tr>'
        yield from (f"<tr>{line}</tr>" for line in lines)
        yield "</table></div>"


def _example(value: Any) -> str:
    return f"<pre><code>{escape(json_text(value), quote=False)}</code></pre>"


def json_text(value: Any) -> str:
    """JSON for reading."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>" if text else ""


def _prose(text: str) -> Iterator[str]:
    yield from (f"<p>{_inline(part)}</p>" for part in text.split("\n\n"))


def _inline(text: str) -> str:
    """The little Markdown that the documents use: code and bold."""
    html = escape(text, quote=False)
    html = re.sub(r"``?([^`]+)``?", r"<code>\1</code>", html)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", html)
