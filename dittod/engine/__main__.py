"""`python -m dittod.engine`: the child process. The parent starts it; nobody else needs to."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before any import of a hub library: they look once
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

from dittod.logs import log_as_engine

if __name__ == "__main__":
    log_as_engine()  # before torch is imported: what it says then is logged as the rest is
    from dittod.engine.worker import main

    main()
