"""`python -m dittod.engine`: the child process. The parent starts it; nobody else needs to."""

from dittod.engine.worker import main

if __name__ == "__main__":
    main()
