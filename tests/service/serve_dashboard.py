"""The dashboard over a made-up home, for whoever works on its pages:

python tests/service/serve_dashboard.py --port 3489

prints a link that signs a browser in. A file of the page that has been changed is served at the next request.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "service")]

from tests.service.conftest import BEARER  # noqa: E402
from tests.service.dashboards import FakeDashboard, alive  # noqa: E402
from tests.service.fakes import FakeBackend  # noqa: E402
from tests.service.servers import running  # noqa: E402


def main() -> None:
    """Until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5.0, help="between two steps of the update under way")
    wanted = parser.parse_args()
    dashboard, backend = FakeDashboard(), FakeBackend(word_seconds=0.1)
    with running(backend, dashboard=dashboard, port=wanted.port) as server, alive(dashboard, wanted.seconds):
        code = httpx.post(f"{server.url}/dashboard/link", headers=BEARER).json()["code"]
        sys.stdout.write(f"{server.url}/#sign-in={code}\n")
        sys.stdout.flush()
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
