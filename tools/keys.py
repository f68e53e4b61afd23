"""`homing keys`: makes, lists and rotates the keys of a cluster: the CURVE pairs of its processes and the keys that sign tokens.

Running processes see a change by themselves: CURVE keys at the next connection, token keys when they meet one they do not know.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from node.edge import tokens
from router import keys as curve
from tools.errors import USAGE, CommandError
from tools.layout import Layout, default_data

SCHEMA = "homing.keys/1"
TOKENS = "tokens"


class TokenKey(NamedTuple):
    """One key whose tokens are valid; ``signs``: its private half is here and signs new ones."""

    kid: str
    fingerprint: str
    signs: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", nargs="?", default="list", choices=("list", "create", "rotate", "retire"), help="list, if nothing is said"
    )
    what = f"a process (node-1), or {TOKENS}; with retire: the number of a token key, or a process"
    parser.add_argument("name", nargs="?", default=None, help=what)
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="the cluster's data directory ($HOMING_DATA, or data/)")
    parser.add_argument("--json", action="store_true", help="print the list as one object")


def run(args: argparse.Namespace) -> int:
    layout = Layout.at(args.data or default_data())
    if args.action == "list":
        return show(layout, args.json)
    if args.name is None:
        raise CommandError(f"{args.action} needs the name of a process, or {TOKENS}", USAGE)
    try:
        layout.make()
        {"create": create, "rotate": rotate, "retire": retire}[args.action](layout, args.name)
    except curve.KeyFileError as error:
        raise CommandError(str(error), USAGE) from error
    except OSError as error:
        raise CommandError(f"cannot change the keys in {layout.keys_dir}: {error.strerror}") from error
    return 0


def create(layout: Layout, name: str) -> None:
    """Makes the first key; one that exists is left alone."""
    if name == TOKENS:
        if not token_keys(layout):
            tokens.rotate(layout.token_keys_dir)
        print(layout.token_keys_dir)
        return
    curve.load_or_create(layout.curve_keys_dir, name)
    print(layout.curve_keys_dir / f"{name}.pub")


def rotate(layout: Layout, name: str) -> None:
    """Makes a new key in the place of the present one. Tokens of the older token keys stay valid until those are retired."""
    if name == TOKENS:
        print(f"token key {tokens.rotate(layout.token_keys_dir)} signs from now on")
        return
    curve.load(layout.curve_keys_dir, name)
    curve.create(layout.curve_keys_dir, name)
    print(f"{name} has a new key; it uses it from its next start")


def retire(layout: Layout, name: str) -> None:
    """Takes a key off: whoever bears it, or a token that it signed, is refused."""
    if name.isdecimal():
        found = {key.kid: key for key in token_keys(layout)}
        if name not in found:
            raise CommandError(f"there is no token key {name}")
        if found[name].signs:
            raise CommandError(f"token key {name} is the one that signs; first make another: homing keys rotate {TOKENS}")
        (layout.token_keys_dir / f"{name}.pub.pem").unlink()
        print(f"tokens of key {name} are refused from now on")
        return
    public = layout.curve_keys_dir / f"{name}.pub"
    if not public.exists():
        raise CommandError(f"there is no key of {name}")
    public.unlink()
    (layout.curve_keys_dir / f"{name}.key").unlink(missing_ok=True)
    print(f"{name} is refused from its next connection on")


def token_keys(layout: Layout) -> list[TokenKey]:
    """The keys whose tokens are valid, oldest first."""
    files = [path for path in layout.token_keys_dir.glob("*.pub.pem") if path.name.removesuffix(".pub.pem").isdecimal()]
    files.sort(key=lambda path: int(path.name.removesuffix(".pub.pem")))
    kids = [path.name.removesuffix(".pub.pem") for path in files]
    signs = [(layout.token_keys_dir / f"{kid}.key.pem").exists() for kid in kids]
    prints = [hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in files]
    return [TokenKey(*row) for row in zip(kids, prints, signs, strict=True)]


def show(layout: Layout, as_json: bool) -> int:
    processes = {name: public.decode() for public, name in curve.allow_list(layout.curve_keys_dir).items()}
    signing = token_keys(layout)
    if as_json:
        listed = [{"name": name, "public_key": public} for name, public in sorted(processes.items())]
        print(json.dumps({"schema": SCHEMA, "processes": listed, "tokens": [key._asdict() for key in signing]}))
        return 0
    if not processes and not signing:
        raise CommandError(f"there are no keys in {layout.keys_dir} (homing up makes them, or homing keys create NAME)")
    print("Processes that may connect (CURVE public keys):")
    for name, public in sorted(processes.items()):
        print(f"  {name:<14}{public}")
    print("Keys whose tokens are valid:")
    for key in signing:
        print(f"  {key.kid:<14}{key.fingerprint}{'   signs' if key.signs else ''}")
    return 0
