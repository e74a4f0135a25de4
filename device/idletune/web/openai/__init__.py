"""/v1: the part of OpenAI's API that chat programs use (platform.openai.com/docs/api-reference)."""
