"""Calls of IAM and STS as the wire makes them, by whoever a test says."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from botocore import xform_name

from snapstone.core.ids import AccountId
from snapstone.core.policy.principals import root_principal
from snapstone.service.engine import Caller
from snapstone.service.iam.operations import IAM_OPERATIONS, STS_OPERATIONS
from snapstone.service.identities.identity import Credentials, credentials_of
from tests.installation import ACCOUNT, Installation

Answer = dict[str, Any]

OTHER_ACCOUNT = AccountId("444455556666")
ANYTHING = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
        ],
    }
)


@dataclass
class Calls:
    """Operations by their names in AWS's models, with members by their names there."""

    installation: Installation
    caller: Caller

    def __call__(self, operation: str, **members: Any) -> Answer:
        function = IAM_OPERATIONS.get(operation) or STS_OPERATIONS[operation]
        named = {xform_name(name): value for name, value in members.items()}
        return function(self.installation.engine, self.caller, **named)

    def of_account(self, account_id: AccountId) -> Calls:
        """The same by another account's root."""
        return replace(self, caller=replace(self.caller, account_id=account_id, principal=root_principal(account_id)))

    def signed_by(self, key: Answer) -> Calls:
        """The same by the principal of a key, as CreateAccessKey or STS answers it."""
        credentials = self.credentials(key)
        assert credentials is not None
        return replace(
            self,
            caller=replace(
                self.caller,
                account_id=credentials.account_id,
                principal=credentials.principal,
                access_key_id=credentials.access_key_id,
            ),
        )

    def credentials(self, key: Answer) -> Credentials | None:
        """What a key stands for now."""
        return credentials_of(self.installation.engine, key["AccessKeyId"], key.get("SessionToken"))
