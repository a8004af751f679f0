"""The machine as it is: what its probes read, and the lock of a home. No decisions in here."""
