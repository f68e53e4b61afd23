"""What the source says of a struct's fields: the text below each. Must not know who prints it."""

from __future__ import annotations

import ast
import inspect
import textwrap

from msgspec import Struct


def docs(kind: type[Struct]) -> dict[str, str]:
    """Field → the text below it in the source, of the type and its bases."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not (isinstance(base, type) and issubclass(base, Struct)) or base is Struct:
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for item, after in zip(body.body, body.body[1:], strict=False):
            is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and is_text:
                assert isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                found[item.target.id] = " ".join(str(after.value.value).split())
    return found
