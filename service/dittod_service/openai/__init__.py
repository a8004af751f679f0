"""OpenAI's wire format: what requests mean and answers look like, as types and pure functions. No HTTP in here."""
