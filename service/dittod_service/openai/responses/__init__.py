"""`/v1/responses`: OpenAI's Responses API without what runs on their machines. Pure."""
