"""The HTTP server: OpenAI's API for other programs, and the page with the product's own methods.

- Starlette on uvicorn, both pure Python (`idletune[web]`). Every request ends in the one dispatcher (rpc/).
- Loopback only, unless told otherwise. A token for programs, a cookie from a one-time link for the page (access.py).
- Each limit stands beside what it limits: requests and time in limits.py, connections in protocol.py.
"""
