"""AWS services that Snapstone does not offer: a refusal that their own clients can parse, and S3's ListBuckets.

Some tools call ListBuckets at their start to learn who they are: it answers with the account as owner, and no buckets.
"""

from __future__ import annotations

import json
from typing import Final

from snapstone.wire import xml_answers
from snapstone.wire.endpoints import Dispatcher, SignedRequest
from snapstone.wire.faults import ec2_fault
from snapstone.wire.http import Fault, Request, Response
from snapstone.wire.members import echo
from snapstone.wire.sigv4 import hashes_of_no_body
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


NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"


class S3Endpoint:
    """One operation; everything else is refused with the name of the variable to set."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def serve(self, signed: SignedRequest) -> Response:
        request = signed.request
        if request.method != "GET" or signed.path != "/" or request.body.declared_size:
            return refuse_service("s3", request)
        signed.log["operation"] = "ListBuckets"
        self._dispatcher.authentication.check_scope(signed.claim)
        hashes = hashes_of_no_body(signed.claim, request.headers, signed.query)
        caller = self._dispatcher.authentication.caller(request, signed.path, signed.claim, hashes)
        account_id = caller.account_id
        text = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<ListAllMyBucketsResult xmlns="{NAMESPACE}"><Owner>'
            f"<ID>{account_id}</ID><DisplayName>{account_id}</DisplayName></Owner><Buckets/></ListAllMyBucketsResult>"
        )
        headers = [("x-amzn-RequestId", request.request_id), ("Content-Type", "application/xml")]
        return Response(200, headers, [text.encode()])

    def refuse(self, error: Exception, request_id: str) -> Response:
        fault = ec2_fault(error)
        text = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{fault.code}</Code>'
            f"<Message>{xml_answers.xml_text(fault.message)}</Message><RequestId>{request_id}</RequestId></Error>"
        )
        headers = [("x-amzn-RequestId", request_id), ("Content-Type", "application/xml")]
        return Response(fault.status, headers, [text.encode()], fault=Fault(fault.code, fault.message))
