"""Unmodified boto3 clients whose requests go to a Gateway in this process instead of a socket."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import boto3
import urllib3
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from snapstone.wire.gateway import Gateway
from snapstone.wire.http import Request, Response
from tests.unit.wire.requests import ENDPOINT, KEY, REGION, ClientKey, from_prepared


class GatewayClient:
    """A boto3 client, and what went over its wire last."""

    def __init__(self, gateway: Gateway, service: str, key: ClientKey = KEY, region: str = REGION) -> None:
        self._gateway = gateway
        self.requests: list[Request] = []
        self.responses: list[Response] = []
        self.client: Any = boto3.client(
            service,
            endpoint_url=ENDPOINT,
            region_name=region,
            aws_access_key_id=key.access_key_id,
            aws_secret_access_key=key.secret,
            aws_session_token=key.session_token,
            config=Config(retries={"total_max_attempts": 1}),
        )
        self.client.meta.events.register("before-send", self._send)

    def _send(self, request: Any, **_: object) -> AWSResponse:
        made = from_prepared(request)
        response = self._gateway(made)
        self.requests.append(made)
        self.responses.append(response)
        content = b"".join(bytes(piece) for piece in response.body)
        raw = urllib3.HTTPResponse(body=BytesIO(content), preload_content=False)
        return AWSResponse(request.url, response.status, dict(response.headers), raw)
