"""What every Python process of a daemon under test loads first, by `PYTHONPATH`: it tells who would leave the machine,
and it fails where a text asks for it.

Told are names that are looked up and addresses that are connected, sent or bound to, if they are not this machine's
own. Not seen: what native code does by itself; of that a namespace without network and strace know.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

TOLD = os.environ["TRAP_FIFO"]  # a pipe: the process that reads files can write no file
NETWORK = {f"socket.{name}" for name in ("connect", "sendto", "sendmsg", "bind")}
NAMES = {f"socket.{name}" for name in ("getaddrinfo", "gethostbyname", "gethostbyaddr", "getnameinfo")}
OWN = (None, "", "127.0.0.1", "::1", "localhost", b"localhost")
READS_FILES = "dittod.ingest.reading" in sys.orig_argv


def _tell(line: str) -> None:
    descriptor = os.open(TOLD, os.O_WRONLY)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def _leaves(event: str, arguments: tuple[Any, ...]) -> bool:
    if event in NETWORK:
        address = arguments[-1]
        return isinstance(address, tuple) and address[0] not in OWN
    return event in NAMES and (arguments[0][0] if isinstance(arguments[0], tuple) else arguments[0]) not in OWN


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event in NETWORK or event in NAMES:
        if _leaves(event, arguments):
            _tell(f"left {event} {arguments[-1] if event in NETWORK else arguments[0]}")
    elif READS_FILES and event == "open" and isinstance(path := arguments[0], str):
        if "crash-here" in path:
            os.abort()
        if "fail-here" in path:
            raise RuntimeError(path)


class _FailingEngine(MetaPathFinder):
    """The engine's answers fail, in words of the client's, for a request that asks for it."""

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        if name != "dittod.engine.answers":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.loader is not None
        load = spec.loader.exec_module

        def load_and_change(module: Any) -> None:
            load(module)
            start = module.Answers.start

            def fail(self: object, request: object) -> None:
                if "fail-here" in repr(request):
                    raise RuntimeError(repr(request))
                start(self, request)

            module.Answers.start = fail

        spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


if "-m" in sys.orig_argv[:4] or "run" in sys.orig_argv[-1:]:  # the daemon, and what it starts
    _tell(f"began {'run' if 'run' in sys.orig_argv else sys.orig_argv[sys.orig_argv.index('-m') + 1]}")
sys.meta_path.insert(0, _FailingEngine())
sys.addaudithook(_hear)
