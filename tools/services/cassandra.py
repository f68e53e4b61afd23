"""Apache Cassandra on this machine: one node or three, each a process of its own on a loopback address of its own.

Made for tests and newcomers, not for operators' clusters: no passwords, loopback only. What it shares with those is what Homing relies
on: a write is acknowledged after the commit log is synced (`group`, a window of 2 ms).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Literal

import msgspec

from tools.errors import CommandError
from tools.processes import Process
from tools.services import artifacts, state
from tools.services.service import Options, Say, Status, choose_port, free_ports, tail
from tools.services.state import Running, State

USUAL_PORT, USUAL_STORAGE_PORT = 9042, 7000
NODES = (1, 3)
HEAP_MIB, HEAP_LOAD_MIB = 512, 1_024
POLL_S = 0.05
PROBE_TIMEOUT_S = 2.0
STOP_S = 15.0
"""SIGTERM drains a node within 2.5 s; one that is under load takes longer."""
CQL_OPTIONS = bytes([4, 0, 0, 0, 5, 0, 0, 0, 0])
CQL_SUPPORTED = 6
"""The opcode that answers it."""
RING = 1 << 64

_EXPORTS = [
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.base/java.lang.ref",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.unsupported/sun.misc",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.attach/sun.tools.attach",
]
_OPENS = [
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.util",
    "java.base/java.nio",
    "java.base/sun.nio.ch",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util.jar",
    "java.base/jdk.internal.misc",
    "jdk.management/com.sun.management.internal",
    "jdk.compiler/com.sun.tools.javac",
]
MODULES = [
    word
    for option, modules in (("--add-exports", _EXPORTS), ("--add-opens", _OPENS))
    for module in modules
    for word in (option, f"{module}=ALL-UNNAMED")
]
LOGBACK = """<configuration>
  <appender name="STDOUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level [%thread] %date{ISO8601} %F:%L - %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="STDOUT"/></root>
</configuration>
"""


class Cassandra:
    """See the module; ``directory`` is its data's, absolute."""

    name = "cassandra"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state_file = directory / "state.json"

    # ------------------------------------------------------------ what it can do

    def up(self, options: Options, say: Say) -> Status:
        if options.nodes not in NODES:
            raise CommandError(f"--nodes must be {' or '.join(map(str, NODES))}")
        known = state.load(self.state_file)
        if known is not None and known.options["nodes"] != options.nodes:
            raise CommandError(f"{self.directory} holds a Cassandra of {known.options['nodes']} nodes: take another --data, or remove it")
        running = {name: r for name, r in known.processes.items() if state.is_alive(r)} if known else {}
        if known is not None and len(running) == options.nodes and self._answer(known):
            if options.port and options.port != known.ports["cql"]:
                raise CommandError(f"it already runs, on port {known.ports['cql']}: stop it first")
            say(f"already runs (port {known.ports['cql']})")
            return self.status()
        java, lib = artifacts.java(say), artifacts.jars(say)
        hosts = [host(number) for number in range(1, options.nodes + 1)]
        ports = known.ports if known and running else self._choose_ports(options, known, hosts)
        now = State(ports, {"nodes": options.nodes}, running)
        began = time.monotonic()
        for number in range(1, options.nodes + 1):
            if f"node-{number}" not in running:
                now.processes[f"node-{number}"] = self._start(number, options, now.ports, java, lib)
                state.save(self.state_file, now)
        say(f"starting {options.nodes} node{'s' * (options.nodes > 1)} on port {ports['cql']} …")
        try:
            self._wait(now, began + options.start_timeout_s)
            if options.nodes > 1:
                self._wait_joined(now, java, lib, began + options.start_timeout_s)
        except BaseException:
            self._stop(now, signal.SIGKILL)
            raise
        say(f"ready after {time.monotonic() - began:.1f} s")
        return self.status()

    def install(self, say: Say) -> Status:
        artifacts.java(say)
        say(f"Cassandra {artifacts.VERSION} is in {artifacts.jars(say)}")
        return self.status()

    def down(self, say: Say) -> Status:
        known = state.load(self.state_file)
        if known is not None and (running := [name for name, r in known.processes.items() if state.is_alive(r)]):
            say(f"stopping {', '.join(running)} …")
            self._stop(known, signal.SIGTERM)
        return self.status()

    def status(self) -> Status:
        known = state.load(self.state_file)
        if known is None:
            return Status(self.name, "absent", [], {}, str(self.directory), artifacts.VERSION)
        pids = {name: r.pid for name, r in known.processes.items() if state.is_alive(r)}
        endpoints = [f"{host(number)}:{known.ports['cql']}" for number in range(1, known.options["nodes"] + 1)]
        whole = len(pids) == known.options["nodes"] and self._answer(known)
        word: Literal["running", "partial", "stopped"] = "running" if whole else "partial" if pids else "stopped"
        return Status(self.name, word, endpoints, pids, str(self.directory), artifacts.VERSION)

    def start_again(self, numbers: list[int], options: Options, say: Say) -> None:
        """Starts some of the nodes that do not run, and leaves the others as they are: for tests of what is away for a while."""
        known = state.load(self.state_file)
        if known is None:
            raise CommandError(f"there is no Cassandra in {self.directory}")
        java, lib = artifacts.java(say), artifacts.jars(say)
        options = msgspec.structs.replace(options, nodes=known.options["nodes"])
        began = time.monotonic()
        started: dict[str, Running] = {}
        for number in numbers:
            name = f"node-{number}"
            if not state.is_alive(known.processes[name]):
                started[name] = known.processes[name] = self._start(number, options, known.ports, java, lib)
                state.save(self.state_file, known)
        self._wait(State(known.ports, known.options, started), began + options.start_timeout_s)

    # ------------------------------------------------------------ the parts of a start

    def _choose_ports(self, options: Options, known: State | None, hosts: list[str]) -> dict[str, int]:
        before = known.ports if known else {}
        jmx = free_ports(options.nodes, ["127.0.0.1"])[0]
        cql = choose_port(options.port, before.get("cql"), USUAL_PORT, hosts)
        given = 0 if options.port == 0 else None
        storage = choose_port(given, before.get("storage") if given is None else None, USUAL_STORAGE_PORT, hosts)
        return {"cql": cql, "storage": storage, "jmx": jmx}

    def _start(self, number: int, options: Options, ports: dict[str, int], java: str, lib: Path) -> Running:
        directory = self.directory / f"node-{number}"
        for name in ("tmp", "triggers"):
            (directory / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / "logback.xml").write_text(LOGBACK, encoding="utf-8")
        config = directory / "cassandra.yaml"
        config.write_text(json.dumps(settings(directory, number, options.nodes, ports), indent=1), encoding="utf-8")
        marker = f"-Dcassandra.config=file://{config}"
        command = [*unprivileged(), java, *flags(directory, options, ports["jmx"] + number - 1, lib), marker, *MODULES]
        process = Process.start([*command, "-cp", f"{lib}/*", "org.apache.cassandra.service.CassandraDaemon"], directory / "output.log")
        os.close(process.fd)
        return Running(process.pid, marker)

    def _wait(self, now: State, until: float) -> None:
        missing = dict(now.processes)
        while missing:
            for name, running in list(missing.items()):
                number = int(name.rpartition("-")[2])
                if answers(host(number), now.ports["cql"]):
                    del missing[name]
                elif not state.runs(running):
                    raise CommandError(f"{name} ended at once; the end of its log:{tail(self.directory / name / 'output.log')}")
            if missing and time.monotonic() > until:
                raise CommandError(f"{', '.join(missing)} did not answer in time; the logs are in {self.directory}/*/output.log")
            time.sleep(POLL_S)

    def _wait_joined(self, now: State, java: str, lib: Path, until: float) -> None:
        """Each node must see all others up, or writes are refused that could be made."""
        nodes = now.options["nodes"]
        for number in (1, nodes):
            while self._up_nodes(java, lib, now.ports["jmx"] + number - 1) < nodes:
                if time.monotonic() > until:
                    raise CommandError(f"the nodes did not find each other; the logs are in {self.directory}/*/output.log")

    def _up_nodes(self, java: str, lib: Path, jmx_port: int) -> int:
        return sum(line.startswith("UN ") for line in self.nodetool(java, lib, jmx_port, "status").splitlines())

    def nodetool(self, java: str, lib: Path, jmx_port: int, *words: str) -> str:
        """What Cassandra's own tool says; empty when it fails."""
        quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", f"-Dlogback.configurationFile=file://{self.directory}/node-1/logback.xml"]
        tool = ["-cp", f"{lib}/*", "org.apache.cassandra.tools.NodeTool", "-h", "127.0.0.1", "-p", str(jmx_port)]
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run([java, *quick, *MODULES, *tool, *words], capture_output=True, text=True, timeout=60, check=False)
            return done.stdout if done.returncode == 0 else ""
        return ""

    def _stop(self, known: State, number: signal.Signals) -> None:
        for running in known.processes.values():  # all at once, then each is waited for
            if state.is_alive(running):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(running.pid, number)
        for running in known.processes.values():
            state.stop(running, number, STOP_S)

    def _answer(self, known: State) -> bool:
        return all(answers(host(number), known.ports["cql"]) for number in range(1, known.options["nodes"] + 1))


def host(number: int) -> str:
    """The address of a node."""
    return f"127.0.0.{number}"


def answers(address: str, port: int) -> bool:
    """Whether a CQL server answers there."""
    try:
        with socket.create_connection((address, port), timeout=PROBE_TIMEOUT_S) as connection:
            connection.sendall(CQL_OPTIONS)
            head = b""
            while len(head) < 9 and (more := connection.recv(9 - len(head))):
                head += more
    except OSError:
        return False
    return len(head) == 9 and head[4] == CQL_SUPPORTED


def settings(directory: Path, number: int, nodes: int, ports: dict[str, int]) -> dict[str, object]:
    """``cassandra.yaml`` (of which JSON is a part); what is not here has Cassandra's default."""
    seeds = ",".join(f"{host(n)}:{ports['storage']}" for n in range(1, nodes + 1))
    return {
        "cluster_name": "homing",
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "endpoint_snitch": "SimpleSnitch",
        "listen_address": host(number),
        "rpc_address": host(number),
        "storage_port": ports["storage"],
        "native_transport_port": ports["cql"],
        "seed_provider": [{"class_name": "org.apache.cassandra.locator.SimpleSeedProvider", "parameters": [{"seeds": seeds}]}],
        "num_tokens": 1,
        "initial_token": str(-(RING // 2) + (number - 1) * RING // nodes),  # exact shares, and nothing to allocate at the start
        "auto_bootstrap": False,
        "data_file_directories": [str(directory / "data")],
        "commitlog_directory": str(directory / "commitlog"),
        "saved_caches_directory": str(directory / "saved_caches"),
        "hints_directory": str(directory / "hints"),
        "cdc_raw_directory": str(directory / "cdc_raw"),
        "commitlog_sync": "group",
        "commitlog_sync_group_window": "2ms",
        "concurrent_writes": 128,  # a write holds its thread until the sync
        "cql_start_time": "QUEUE",  # time-outs count from the arrival, so a lost quorum does not pile up requests
        "memtable_heap_space": "128MiB",
        "memtable_offheap_space": "128MiB",
        "commitlog_segment_size": "16MiB",
        "commitlog_total_space": "256MiB",
        "disk_failure_policy": "die",
        "commit_failure_policy": "die",
        "auto_snapshot": False,  # tests empty tables all the time
        "authenticator": "AllowAllAuthenticator",
    }


def flags(directory: Path, options: Options, jmx_port: int, lib: Path) -> list[str]:
    """Java's own options, and Cassandra's as Java's properties."""
    heap_mib = HEAP_LOAD_MIB if options.load else HEAP_MIB
    return [
        f"-Xms{heap_mib}M",
        f"-Xmx{heap_mib}M",
        "-Xss256k",
        *(["-XX:+UseG1GC"] if options.load else ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]),
        "-XX:MaxDirectMemorySize=256M",
        "-XX:+ExitOnOutOfMemoryError",
        f"-javaagent:{next(lib.glob('jamm-*.jar'))}",
        f"-Dlogback.configurationFile=file://{directory}/logback.xml",
        f"-Dcassandra.storagedir={directory}",
        f"-Dcassandra.logdir={directory}",
        f"-Dcassandra.triggers_dir={directory}/triggers",
        f"-Djava.io.tmpdir={directory}/tmp",
        f"-Dcassandra.jmx.local.port={jmx_port}",
        "-Dcassandra-foreground=yes",
        "-Dcassandra.skip_wait_for_gossip_to_settle=0",
        f"-Dcassandra.ring_delay_ms={1_000 if options.nodes > 1 else 0}",
        "-Dcassandra.superuser_setup_delay_ms=0",
        "-Dcassandra.shutdown_announce_in_ms=0",
        "-Djdk.attach.allowAttachSelf=true",
        "-Dio.netty.tryReflectionSetAccessible=true",
        "-Djava.net.preferIPv4Stack=true",
    ]


def unprivileged() -> list[str]:
    """As root Cassandra would lock its whole heap in memory: what keeps it from that, where the tools are there."""
    prlimit, setpriv = shutil.which("prlimit"), shutil.which("setpriv")
    if os.geteuid() != 0 or not prlimit or not setpriv:
        return []
    return [prlimit, "--memlock=65536:65536", setpriv, "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"]
