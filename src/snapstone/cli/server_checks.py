"""The doctor's look at what a Snapstone server says of itself, at `/ready`; other endpoints have no such page.

The page needs no signature, and one of the server's processes answers for itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, HTTPClientError
from botocore.httpsession import URLLib3Session

from snapstone.cli.finding import Finding, fail, ok, warn
from snapstone.client.api.endpoint import Endpoint

READY_PATH: Final = "/ready"
READY_SECONDS: Final = 10.0
"""For the connection, and for each silence of the answer."""

OK: Final = "ok"
UNAVAILABLE: Final = "unavailable"
"""What `status` may be, beside `degraded`."""

_AWS_HOSTS: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".amazonwebservices.com.cn")
_ADVICE: Final = "see to it at the server; its log says when it began"


def server_checks(endpoint: Endpoint) -> Iterator[Finding]:
    """What the server says is wrong with it; nothing of endpoints that do not say anything of the kind."""
    if (urlsplit(endpoint.url).hostname or "").endswith(_AWS_HOSTS):
        return
    document = _asked(endpoint)
    status = document.get("status")
    if not isinstance(status, str):
        return
    found = list(_troubles(document))
    judge = fail if status == UNAVAILABLE else warn
    if status != OK and not found:
        found = [f"says that it is {status}, and not why"]
    for words in found:
        yield judge("server", words, _ADVICE)
    if not found:
        yield ok("server", "ready, and reports no problem")


def _troubles(document: Mapping[str, object]) -> Iterator[str]:
    """A sentence for each part that does not answer, and for each problem."""
    failed, problems = document.get("failed"), document.get("problems")
    for name in failed if isinstance(failed, list) else ():
        yield f"the {name} does not answer"
    for problem in problems if isinstance(problems, list) else ():
        if isinstance(problem, Mapping):
            yield f"{problem.get('subject')}: {problem.get('message')}"


def _asked(endpoint: Endpoint) -> Mapping[str, object]:
    """The page; empty if there is none. What kept it from us, the other checks meet and name."""
    proxy, scheme = endpoint.proxy, urlsplit(endpoint.url).scheme
    session = URLLib3Session(
        verify=endpoint.ca_bundle or True, proxies={scheme: proxy} if proxy else None, timeout=READY_SECONDS
    )
    try:
        answer = session.send(AWSRequest("GET", endpoint.url + READY_PATH).prepare())
        document = json.loads(answer.content)
    except (BotoCoreError, HTTPClientError, ValueError):
        return {}
    finally:
        session.close()
    return document if isinstance(document, dict) else {}
