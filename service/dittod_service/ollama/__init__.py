"""Ollama's wire format, for the clients that speak only that: types and pure functions. No HTTP in here."""
