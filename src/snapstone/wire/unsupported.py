"""A readable refusal for AWS services that Snapstone does not speak, in a form that their own clients can parse."""

from __future__ import annotations

import json
from typing import Final

from snapstone.wire.constraints import echo
from snapstone.wire.http import Fault, Request, Response
from snapstone.wire.xml_answers import xml_text

NOT_IMPLEMENTED: Final = 501
_CODE = "NotImplemented"
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


def refuse_service(service: str, request: Request) -> Response:
    """501, naming the environment variable that sends the service's requests elsewhere."""
    variable = "AWS_ENDPOINT_URL_" + echo(service).upper().replace("-", "_")
    message = (
        f"Snapstone serves ebs, ec2, kms, sts, iam and rbin, not '{echo(service)}'. "
        f"Set {variable} to the endpoint that should answer these requests."
    )
    request_id = request.request_id
    if service == "s3":
        text = (
            f"<Error><Code>{_CODE}</Code><Message>{xml_text(message)}</Message>"
            f"<RequestId>{request_id}</RequestId></Error>"
        )
        return _xml(text, message, request_id)
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        text = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{_CODE}</Code><Message>{xml_text(message)}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        return _xml(text, message, request_id)
    headers = [("x-amzn-RequestId", request_id), ("x-amzn-ErrorType", _CODE), ("Content-Type", "application/json")]
    document = {"__type": _CODE, "message": message}
    return Response(NOT_IMPLEMENTED, headers, [json.dumps(document).encode()], fault=Fault(_CODE, message))


def _xml(text: str, message: str, request_id: str) -> Response:
    headers = [("x-amzn-RequestId", request_id), ("Content-Type", "application/xml")]
    return Response(NOT_IMPLEMENTED, headers, [(_DECLARATION + text).encode()], fault=Fault(_CODE, message))
