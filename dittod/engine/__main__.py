"""`python -m dittod.engine`: the child process. The parent starts it; nobody else needs to."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before any import of a hub library: they look once
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

from dittod.engine.worker import main

if __name__ == "__main__":
    main()
