"""The endpoint: an HTTP server on this machine that speaks OpenAI's API for a `dittod.serving.Backend`.

It knows requests and answers, and nothing of folders, learning, the store or the engine.
"""
