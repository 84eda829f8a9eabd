"""Requests to an application in this process, without a server."""

import asyncio
from typing import Any

import httpx
from starlette.types import ASGIApp

ORIGIN = "http://127.0.0.1:8250"


class Client:
    """Each request has its own event loop. Defects of the application are raised unless `defects_answer`."""

    def __init__(self, app: ASGIApp, *, defects_answer: bool = False) -> None:
        self.app = app
        self.raises = not defects_answer

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=self.raises)
            async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
                return await client.request(method, url, **options)

        return asyncio.run(send())

    def get(self, url: str, **options: Any) -> httpx.Response:
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> httpx.Response:
        return self.request("POST", url, **options)
