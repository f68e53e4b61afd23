"""`homing documents`: writes the published documents and the page, or says that they are stale."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from node import documents
from node.rest.table import described_routes
from tools.documents.asyncapi import asyncapi
from tools.documents.openapi import openapi
from tools.documents.page import STYLE, page

FOLDER = Path(documents.__file__).parent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a document is not what the code says")


def run(args: argparse.Namespace) -> int:
    files = made()
    stale = [name for name, text in files.items() if _present(name) != text]
    if not stale:
        print("up to date")
        return 0
    if args.check:
        print(f"stale: {', '.join(stale)}; `homing documents` writes them anew")
        return 1
    for name in stale:
        (FOLDER / name).write_text(files[name], encoding="utf-8")
    print(f"written: {', '.join(stale)}")
    return 0


def made() -> dict[str, str]:
    """File name → its text, as the code has it now."""
    rest, socket = openapi(described_routes()), asyncapi()
    files = {"openapi.json": _text(rest), "asyncapi.json": _text(socket), "index.html": page(rest, socket), "style.css": STYLE}
    assert set(files) == {file for file, _ in documents.FILES.values()}, "the node serves what is made here"
    return files


def _present(name: str) -> str:
    try:
        return (FOLDER / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _text(document: object) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
