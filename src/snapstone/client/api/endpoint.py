"""Which endpoint, which region, whose credentials: resolved by botocore, so plain AWS configuration holds."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import botocore.config
import botocore.exceptions
import botocore.session
from botocore.configprovider import ConfiguredEndpointProvider
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from snapstone import __version__
from snapstone.client.errors import DeniedError, ExpiredCredentialsError, UsageError

CONNECT_SECONDS: Final = 10
"""How long a connection may take to be opened, and a TLS handshake."""

READ_SECONDS: Final = 60
"""How long an answer may be silent before the connection counts as broken."""

Client = Any
"""A botocore client: botocore makes its methods at run time, from the service model."""


@dataclass(frozen=True, slots=True)
class AccessKey:
    """The credentials at one moment."""

    access_key_id: str
    secret: str
    session_token: str | None


class Endpoint:
    """One endpoint as botocore resolved it; makes clients, and gives the credentials of now."""

    def __init__(
        self, session: botocore.session.Session, renew: Callable[[], botocore.session.Session], url: str | None
    ):
        self._session = session
        self._renew = renew
        self._given_url = url
        self._clients: dict[str, Client] = {}
        self._lock = threading.RLock()
        self.region: str = session.get_config_variable("region") or ""
        if not self.region:
            raise UsageError("no region: give --region, set AWS_REGION, or configure one for the profile")
        self._credentials = _credentials(session)
        self.url: str = self.client("ebs").meta.endpoint_url.rstrip("/")
        """Where the EBS direct APIs are: scheme, host, and a port or path if there is one."""

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"{self.url} ({self.region})"

    @property
    def ca_bundle(self) -> str | None:
        """File of the only certificates to trust, if configured (AWS_CA_BUNDLE)."""
        bundle: str | None = self._session.get_config_variable("ca_bundle")
        return bundle

    @property
    def usual_bundle(self) -> str:
        """File of the certificates that botocore trusts by default; some systems have none of their own."""
        bundle: str = get_cert_path(True)
        return bundle

    @property
    def proxy(self) -> str | None:
        """URL of the proxy for this endpoint, from the environment."""
        proxies: dict[str, str] = get_environ_proxies(self.url)
        return proxies.get(self.url.partition(":")[0])

    def access_key(self) -> AccessKey:
        """The credentials of now; botocore renews those that are about to expire. Raises DeniedError."""
        try:
            frozen = self._credentials.get_frozen_credentials()
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            raise ExpiredCredentialsError(f"no credentials for {self.name}: {error}") from None
        return AccessKey(frozen.access_key, frozen.secret_key, frozen.token)

    def renew_credentials(self, stale: AccessKey) -> bool:
        """Resolve credentials again from files and providers; returns whether they differ from `stale`."""
        with self._lock:
            if self.access_key() == stale:
                self._session = self._renew()
                self._credentials = _credentials(self._session)
                self._clients.clear()
            return self.access_key() != stale

    def client(self, service: str) -> Client:
        """A botocore client of a service at this endpoint, which tries each call once: retries are ours."""
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._make_client(service)
            return self._clients[service]

    def _make_client(self, service: str) -> Client:
        config = botocore.config.Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"total_max_attempts": 1, "mode": "standard"},
            user_agent_extra=f"snapstone/{__version__}",
            max_pool_connections=16,
        )
        url = self._given_url or _profile_url(self._session, service)
        try:
            return self._session.create_client(service, region_name=self.region, endpoint_url=url, config=config)
        except (botocore.exceptions.BotoCoreError, ValueError) as error:
            raise UsageError(f"no endpoint for {service} in {self.region!r}: {error}") from None


def resolve(profile: str | None = None, endpoint_url: str | None = None, region: str | None = None) -> Endpoint:
    """The endpoint that AWS configuration (profile, environment, SSO cache, instance role) and these values name.

    Raises UsageError for an unknown profile, a missing region or a malformed URL, DeniedError without credentials.
    """

    def new_session() -> botocore.session.Session:
        session = botocore.session.Session(profile=profile)
        chosen = region or _region(session, named=profile is not None)
        if chosen is not None:
            session.set_config_variable("region", chosen)
        return session

    if endpoint_url is not None and not endpoint_url.startswith(("http://", "https://")):
        raise UsageError(f"the endpoint URL {endpoint_url!r} does not begin with http:// or https://")
    try:
        return Endpoint(new_session(), new_session, endpoint_url)
    except botocore.exceptions.ProfileNotFound as error:
        raise UsageError(f"{error}; profiles are in ~/.aws/config and ~/.aws/credentials") from None
    except botocore.exceptions.BotoCoreError as error:
        raise UsageError(f"the AWS configuration cannot be used: {error}") from None


def _region(session: botocore.session.Session, *, named: bool) -> str | None:
    """Of a profile that was named on purpose; else what the environment says, of which botocore knows a part."""
    of_profile: str | None = session.get_scoped_config().get("region") if named else None
    return of_profile or os.environ.get("AWS_REGION") or None


def _profile_url(session: botocore.session.Session, service: str) -> str | None:
    """The endpoint of a profile that was named on purpose; without one in it, botocore looks into the environment."""
    if session.instance_variables().get("profile") is None:
        return None
    provider = ConfiguredEndpointProvider(session.full_config, session.get_scoped_config(), service, environ={})
    url: str | None = provider.provide()
    return url


def _credentials(session: botocore.session.Session) -> Any:
    try:
        credentials = session.get_credentials()
    except botocore.exceptions.ProfileNotFound:
        raise
    except botocore.exceptions.BotoCoreError as error:
        raise DeniedError(f"no credentials: {error}") from None
    if credentials is None:
        raise DeniedError("no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or choose a profile")
    return credentials
