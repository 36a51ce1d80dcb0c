"""S3's ListBuckets, which a tool asks at its start to learn who it is: the account as owner, and no buckets."""

from __future__ import annotations

from typing import Final

from snapstone.wire import xml_answers
from snapstone.wire.endpoints import Desk, SignedRequest
from snapstone.wire.faults import ec2_fault
from snapstone.wire.http import Fault, Response
from snapstone.wire.payload import hashes_of_no_body
from snapstone.wire.unsupported import refuse_service

NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"


class S3Endpoint:
    """One operation; everything else is refused with the name of the variable to set."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def serve(self, signed: SignedRequest) -> Response:
        request = signed.request
        if request.method != "GET" or signed.path != "/" or request.body.declared_size:
            return refuse_service("s3", request)
        signed.log["operation"] = "ListBuckets"
        self._desk.authentication.check_scope(signed.claim)
        hashes = hashes_of_no_body(signed.claim, request.headers, signed.query)
        caller = self._desk.authentication.caller(request, signed.path, signed.claim, hashes)
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
