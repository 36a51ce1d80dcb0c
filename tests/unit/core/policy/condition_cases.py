"""Worked by hand from the IAM User Guide's rules for conditions (docs/aws-behaviour/iam-and-sts.md, POL-6 to POL-9).

Each row is a claim, a Condition, a request's keys, and whether the condition is met. Each is tried in an Allow and in a
Deny.
"""

from __future__ import annotations

from itertools import chain
from typing import Final

from tests.unit.core.policy.case import Case, condition, doubtful

TEAM = "aws:resourcetag/team"
NAME = "aws:username"
SIZE = "ebs:volumesize"
NOW = "aws:currenttime"
IP = "aws:sourceip"
TLS = "aws:securetransport"
ARN = "ebs:parentsnapshot"
TAGS = "aws:tagkeys"
PARENT = "arn:aws:ec2:us-east-1::snapshot/snap-9"

CONDITION_CASES: Final[tuple[Case, ...]] = tuple(
    chain.from_iterable(
        [
            # -- strings --
            condition("StringEquals: the same text", {"StringEquals": {TEAM: "db"}}, {TEAM: "db"}, True),
            condition("StringEquals: another text", {"StringEquals": {TEAM: "db"}}, {TEAM: "web"}, False),
            condition("StringEquals: another case", {"StringEquals": {TEAM: "db"}}, {TEAM: "DB"}, False),
            condition("StringEquals: a star is a star", {"StringEquals": {TEAM: "d*"}}, {TEAM: "db"}, False),
            condition("StringEquals: a star equals a star", {"StringEquals": {TEAM: "d*"}}, {TEAM: "d*"}, True),
            condition("StringEquals: one of several values", {"StringEquals": {TEAM: ["a", "db"]}}, {TEAM: "db"}, True),
            condition("StringEquals: none of several", {"StringEquals": {TEAM: ["a", "b"]}}, {TEAM: "db"}, False),
            condition("StringEquals: no key", {"StringEquals": {TEAM: "db"}}, {}, False),
            condition("StringEquals: an empty text", {"StringEquals": {TEAM: ""}}, {TEAM: ""}, True),
            condition(
                "StringEquals: key names in any case",
                {"StringEquals": {"AWS:ResourceTag/Team": "db"}},
                {TEAM: "db"},
                True,
            ),
            condition("StringNotEquals: another text", {"StringNotEquals": {TEAM: "db"}}, {TEAM: "web"}, True),
            condition("StringNotEquals: the same text", {"StringNotEquals": {TEAM: "db"}}, {TEAM: "db"}, False),
            condition(
                "StringNotEquals: values are alternatives of which none may match",
                {"StringNotEquals": {TEAM: ["a", "db"]}},
                {TEAM: "db"},
                False,
            ),
            condition("StringNotEquals: none of several", {"StringNotEquals": {TEAM: ["a", "b"]}}, {TEAM: "c"}, True),
            condition("StringNotEquals: no key", {"StringNotEquals": {TEAM: "db"}}, {}, True),
            condition(
                "StringEqualsIgnoreCase: another case", {"StringEqualsIgnoreCase": {TEAM: "db"}}, {TEAM: "DB"}, True
            ),
            condition(
                "StringEqualsIgnoreCase: another text", {"StringEqualsIgnoreCase": {TEAM: "db"}}, {TEAM: "web"}, False
            ),
            condition(
                "StringNotEqualsIgnoreCase: another case",
                {"StringNotEqualsIgnoreCase": {TEAM: "db"}},
                {TEAM: "Db"},
                False,
            ),
            condition(
                "StringNotEqualsIgnoreCase: another text",
                {"StringNotEqualsIgnoreCase": {TEAM: "db"}},
                {TEAM: "web"},
                True,
            ),
            condition("StringNotEqualsIgnoreCase: no key", {"StringNotEqualsIgnoreCase": {TEAM: "db"}}, {}, True),
            condition("StringLike: a star is any text", {"StringLike": {TEAM: "d*e"}}, {TEAM: "database"}, True),
            condition("StringLike: a star is not a text too", {"StringLike": {TEAM: "d*b"}}, {TEAM: "db"}, True),
            condition(
                "StringLike: a star spans colons and slashes", {"StringLike": {TEAM: "a*z"}}, {TEAM: "a:/:z"}, True
            ),
            condition("StringLike: a question mark is one character", {"StringLike": {TEAM: "d?"}}, {TEAM: "db"}, True),
            condition("StringLike: a question mark is not none", {"StringLike": {TEAM: "db?"}}, {TEAM: "db"}, False),
            condition("StringLike: the whole text must match", {"StringLike": {TEAM: "b*"}}, {TEAM: "db"}, False),
            condition("StringLike: case counts", {"StringLike": {TEAM: "D*"}}, {TEAM: "db"}, False),
            condition("StringLike: dots are dots", {"StringLike": {TEAM: "a.*"}}, {TEAM: "abc"}, False),
            condition("StringLike: pieces must come in order", {"StringLike": {TEAM: "*b*a*"}}, {TEAM: "xaxbx"}, False),
            condition(
                "StringLike: the last piece may overlap nothing", {"StringLike": {TEAM: "*ab*ab"}}, {TEAM: "xab"}, False
            ),
            condition(
                "StringLike: a line's end is a character", {"StringLike": {TEAM: "a?b*"}}, {TEAM: "a\nb\n"}, True
            ),
            condition("StringLike: no key, though a star would match", {"StringLike": {TEAM: "*"}}, {}, False),
            condition("StringNotLike: a match", {"StringNotLike": {TEAM: "d*"}}, {TEAM: "db"}, False),
            condition("StringNotLike: no match", {"StringNotLike": {TEAM: "d*"}}, {TEAM: "web"}, True),
            condition(
                "StringNotLike: a variable whose value is longer than the text",
                {"StringNotLike": {TEAM: "${aws:username}*"}},
                {TEAM: "al", NAME: "alice"},
                True,
            ),
            condition("StringNotLike: no key", {"StringNotLike": {TEAM: "d*"}}, {}, True),
            # -- numbers --
            condition("NumericEquals: the same", {"NumericEquals": {SIZE: "8"}}, {SIZE: "8"}, True),
            condition("NumericEquals: by value, not by text", {"NumericEquals": {SIZE: "8.0"}}, {SIZE: "08"}, True),
            condition("NumericEquals: a number without quotes", {"NumericEquals": {SIZE: 8}}, {SIZE: "8"}, True),
            condition("NumericEquals: another", {"NumericEquals": {SIZE: "8"}}, {SIZE: "9"}, False),
            condition(
                "NumericEquals: a text that is not a number", {"NumericEquals": {SIZE: "8"}}, {SIZE: "big"}, False
            ),
            condition("NumericNotEquals: another", {"NumericNotEquals": {SIZE: "8"}}, {SIZE: "9"}, True),
            condition("NumericNotEquals: the same", {"NumericNotEquals": {SIZE: "8"}}, {SIZE: "8.00"}, False),
            condition("NumericNotEquals: no key", {"NumericNotEquals": {SIZE: "8"}}, {}, True),
            doubtful("NumericNotEquals: a text that is not a number", {"NumericNotEquals": {SIZE: "8"}}, {SIZE: "big"}),
            condition("NumericLessThan: less", {"NumericLessThan": {SIZE: "100"}}, {SIZE: "99"}, True),
            condition("NumericLessThan: not as texts", {"NumericLessThan": {SIZE: "9"}}, {SIZE: "10"}, False),
            condition("NumericLessThan: equal", {"NumericLessThan": {SIZE: "100"}}, {SIZE: "100"}, False),
            condition("NumericLessThanEquals: equal", {"NumericLessThanEquals": {SIZE: "100"}}, {SIZE: "100"}, True),
            condition("NumericLessThanEquals: more", {"NumericLessThanEquals": {SIZE: "100"}}, {SIZE: "101"}, False),
            condition("NumericLessThanEquals: no key", {"NumericLessThanEquals": {SIZE: "100"}}, {}, False),
            condition("NumericGreaterThan: more", {"NumericGreaterThan": {SIZE: "-1"}}, {SIZE: "0"}, True),
            condition("NumericGreaterThan: equal", {"NumericGreaterThan": {SIZE: "1"}}, {SIZE: "1"}, False),
            condition(
                "NumericGreaterThanEquals: equal", {"NumericGreaterThanEquals": {SIZE: "1.5"}}, {SIZE: "1.5"}, True
            ),
            condition(
                "NumericGreaterThanEquals: less", {"NumericGreaterThanEquals": {SIZE: "1.5"}}, {SIZE: "1"}, False
            ),
            # -- dates --
            condition(
                "DateEquals: the same in another zone",
                {"DateEquals": {NOW: "2026-01-01T01:00:00+01:00"}},
                {NOW: "2026-01-01T00:00:00Z"},
                True,
            ),
            condition(
                "DateEquals: 2026-01-01 is 1767225600 seconds after 1970 began",
                {"DateEquals": {NOW: "1767225600"}},
                {NOW: "2026-01-01T00:00:00Z"},
                True,
            ),
            condition(
                "DateEquals: a day is its midnight",
                {"DateEquals": {NOW: "2026-01-01"}},
                {NOW: "2026-01-01T00:00:00Z"},
                True,
            ),
            condition(
                "DateEquals: a month is its first day",
                {"DateEquals": {NOW: "2026-01"}},
                {NOW: "2026-01-01T00:00:00Z"},
                True,
            ),
            condition(
                "DateEquals: another second", {"DateEquals": {NOW: "2026-01-01"}}, {NOW: "2026-01-01T00:00:01Z"}, False
            ),
            condition(
                "DateNotEquals: another second",
                {"DateNotEquals": {NOW: "2026-01-01"}},
                {NOW: "2026-01-01T00:00:01Z"},
                True,
            ),
            condition("DateNotEquals: no key", {"DateNotEquals": {NOW: "2026-01-01"}}, {}, True),
            condition(
                "DateLessThan: before",
                {"DateLessThan": {NOW: "2026-01-01T00:00:00Z"}},
                {NOW: "2025-12-31T23:59:59Z"},
                True,
            ),
            condition(
                "DateLessThan: that moment",
                {"DateLessThan": {NOW: "2026-01-01T00:00:00Z"}},
                {NOW: "2026-01-01T00:00:00Z"},
                False,
            ),
            condition(
                "DateLessThanEquals: that moment",
                {"DateLessThanEquals": {NOW: "2026-01-01T00:00:00Z"}},
                {NOW: "2026-01-01T00:00:00Z"},
                True,
            ),
            condition(
                "DateGreaterThan: after",
                {"DateGreaterThan": {NOW: "2026-01-01T00:00:00Z"}},
                {NOW: "2026-01-01T00:00:00.5Z"},
                True,
            ),
            condition(
                "DateGreaterThan: that moment",
                {"DateGreaterThan": {NOW: "2026-01-01T00:00:00Z"}},
                {NOW: "2026-01-01T00:00:00Z"},
                False,
            ),
            condition(
                "DateGreaterThanEquals: that moment",
                {"DateGreaterThanEquals": {NOW: "2026-01-01T00:00:00Z"}},
                {NOW: "2026-01-01T00:00:00Z"},
                True,
            ),
            condition(
                "DateGreaterThanEquals: of seconds",
                {"DateGreaterThanEquals": {"aws:epochtime": "2026-01-01"}},
                {"aws:epochtime": "1767225599"},
                False,
            ),
            # -- booleans, octets --
            condition("Bool: true", {"Bool": {TLS: "true"}}, {TLS: "true"}, True),
            condition("Bool: false", {"Bool": {TLS: "false"}}, {TLS: "true"}, False),
            condition("Bool: in any case", {"Bool": {TLS: "True"}}, {TLS: "true"}, True),
            condition("Bool: without quotes", {"Bool": {TLS: False}}, {TLS: "false"}, True),
            condition("Bool: no key is not false", {"Bool": {TLS: "false"}}, {}, False),
            condition(
                "BinaryEquals: the same octets", {"BinaryEquals": {"x:y": "QmluYXJ5"}}, {"x:y": "QmluYXJ5"}, True
            ),
            condition("BinaryEquals: other octets", {"BinaryEquals": {"x:y": "QmluYXJ5"}}, {"x:y": "QmluYXJ6"}, False),
            condition("BinaryEquals: no key", {"BinaryEquals": {"x:y": "QmluYXJ5"}}, {}, False),
            # -- addresses --
            condition("IpAddress: inside", {"IpAddress": {IP: "203.0.113.0/24"}}, {IP: "203.0.113.255"}, True),
            condition("IpAddress: outside", {"IpAddress": {IP: "203.0.113.0/24"}}, {IP: "203.0.114.0"}, False),
            condition(
                "IpAddress: without a prefix it is one", {"IpAddress": {IP: "203.0.113.7"}}, {IP: "203.0.113.7"}, True
            ),
            condition(
                "IpAddress: without a prefix no other", {"IpAddress": {IP: "203.0.113.7"}}, {IP: "203.0.113.8"}, False
            ),
            condition(
                "IpAddress: bits behind the prefix do not count",
                {"IpAddress": {IP: "203.0.113.7/24"}},
                {IP: "203.0.113.8"},
                True,
            ),
            condition("IpAddress: IPv6 inside", {"IpAddress": {IP: "2001:db8::/32"}}, {IP: "2001:DB8:0:1::1"}, True),
            condition("IpAddress: IPv6 outside", {"IpAddress": {IP: "2001:db8::/32"}}, {IP: "2001:db9::1"}, False),
            condition("IpAddress: IPv4 is not in an IPv6 range", {"IpAddress": {IP: "::/0"}}, {IP: "10.0.0.1"}, False),
            condition(
                "IpAddress: an IPv4 address written as IPv6",
                {"IpAddress": {IP: "10.0.0.0/8"}},
                {IP: "::ffff:10.1.2.3"},
                True,
            ),
            condition(
                "IpAddress: one of two ranges",
                {"IpAddress": {IP: ["10.0.0.0/8", "2001:db8::/32"]}},
                {IP: "2001:db8::5"},
                True,
            ),
            condition("IpAddress: no key", {"IpAddress": {IP: "0.0.0.0/0"}}, {}, False),
            condition("NotIpAddress: outside", {"NotIpAddress": {IP: "203.0.113.0/24"}}, {IP: "10.0.0.1"}, True),
            condition(
                "NotIpAddress: in one of two",
                {"NotIpAddress": {IP: ["203.0.113.0/24", "10.0.0.0/8"]}},
                {IP: "10.0.0.1"},
                False,
            ),
            condition("NotIpAddress: no key", {"NotIpAddress": {IP: "203.0.113.0/24"}}, {}, True),
            doubtful("NotIpAddress: no address", {"NotIpAddress": {IP: "203.0.113.0/24"}}, {IP: "here"}),
            # -- ARNs --
            condition("ArnEquals: the same", {"ArnEquals": {ARN: PARENT}}, {ARN: PARENT}, True),
            condition("ArnLike: a star alone is any ARN", {"ArnLike": {ARN: "*"}}, {ARN: PARENT}, True),
            condition("ArnEquals: is ArnLike", {"ArnEquals": {ARN: "arn:aws:ec2:*::snapshot/*"}}, {ARN: PARENT}, True),
            condition(
                "ArnLike: a star in a part",
                {"ArnLike": {ARN: "arn:aws:ec2:us-*::snapshot/snap-?"}},
                {ARN: PARENT},
                True,
            ),
            condition(
                "ArnLike: a star spans no colon",
                {"ArnLike": {ARN: "arn:aws:*:snapshot/snap-9:x:y"}},
                {ARN: "arn:aws:ec2:us-east-1:snapshot/snap-9:x:y"},
                False,
            ),
            condition(
                "ArnLike: in the last part it does",
                {"ArnLike": {ARN: "arn:aws:logs:*:*:log-group:*"}},
                {ARN: "arn:aws:logs:r:1:log-group:a:b"},
                True,
            ),
            condition("ArnLike: case counts", {"ArnLike": {ARN: "arn:aws:EC2:*::snapshot/*"}}, {ARN: PARENT}, False),
            condition(
                "ArnLike: an empty part is empty",
                {"ArnLike": {ARN: "arn:aws:ec2:us-east-1::snapshot/*"}},
                {ARN: "arn:aws:ec2:us-east-1:111122223333:snapshot/snap-9"},
                False,
            ),
            condition("ArnLike: no key", {"ArnLike": {ARN: "arn:*:*:*:*:*"}}, {}, False),
            condition(
                "ArnLike: a text that is not an ARN", {"ArnLike": {ARN: "arn:*:*:*:*:*"}}, {ARN: "snap-9"}, False
            ),
            condition("ArnNotEquals: another", {"ArnNotEquals": {ARN: PARENT}}, {ARN: PARENT + "9"}, True),
            condition("ArnNotEquals: the same", {"ArnNotEquals": {ARN: PARENT}}, {ARN: PARENT}, False),
            condition("ArnNotLike: a match", {"ArnNotLike": {ARN: "arn:aws:ec2:*::snapshot/*"}}, {ARN: PARENT}, False),
            condition("ArnNotLike: no match", {"ArnNotLike": {ARN: "arn:aws:ec2:eu-*::*"}}, {ARN: PARENT}, True),
            condition("ArnNotLike: no key", {"ArnNotLike": {ARN: "arn:aws:ec2:eu-*::*"}}, {}, True),
            # -- Null --
            condition("Null true: the key is not there", {"Null": {TEAM: "true"}}, {}, True),
            condition("Null true: the key is there", {"Null": {TEAM: "true"}}, {TEAM: "db"}, False),
            condition("Null false: the key is there", {"Null": {TEAM: "false"}}, {TEAM: "db"}, True),
            condition("Null false: the key is not there", {"Null": {TEAM: "false"}}, {}, False),
            condition("Null true: an empty text is there", {"Null": {TEAM: "true"}}, {TEAM: ""}, False),
            condition("Null without quotes", {"Null": {TEAM: True}}, {}, True),
            condition("Null true: several values, none", {"Null": {TAGS: "true"}}, {TAGS: ()}, True),
            # -- IfExists --
            condition("IfExists: no key", {"StringEqualsIfExists": {TEAM: "db"}}, {}, True),
            condition("IfExists: the key matches", {"StringEqualsIfExists": {TEAM: "db"}}, {TEAM: "db"}, True),
            condition("IfExists: the key does not match", {"StringEqualsIfExists": {TEAM: "db"}}, {TEAM: "x"}, False),
            condition(
                "IfExists: with a negated operator", {"StringNotLikeIfExists": {TEAM: "d*"}}, {TEAM: "db"}, False
            ),
            condition("IfExists: of numbers", {"NumericLessThanIfExists": {SIZE: "5"}}, {}, True),
            condition("IfExists: of booleans", {"BoolIfExists": {TLS: "true"}}, {TLS: "false"}, False),
            condition("IfExists: of addresses", {"IpAddressIfExists": {IP: "10.0.0.0/8"}}, {}, True),
            condition("IfExists: of dates", {"DateLessThanIfExists": {NOW: "2026-01-01"}}, {NOW: "2027-01-01"}, False),
            condition("IfExists: of ARNs", {"ArnLikeIfExists": {ARN: "arn:aws:ec2:*::*"}}, {}, True),
            # -- several values --
            condition(
                "ForAllValues: all are listed",
                {"ForAllValues:StringEquals": {TAGS: ["a", "b", "c"]}},
                {TAGS: ("a", "b")},
                True,
            ),
            condition(
                "ForAllValues: one is not", {"ForAllValues:StringEquals": {TAGS: ["a", "b"]}}, {TAGS: ("a", "x")}, False
            ),
            condition("ForAllValues: no key", {"ForAllValues:StringEquals": {TAGS: "a"}}, {}, True),
            condition("ForAllValues: no values", {"ForAllValues:StringEquals": {TAGS: "a"}}, {TAGS: ()}, True),
            condition("ForAllValues: of a single value", {"ForAllValues:StringLike": {TAGS: "a*"}}, {TAGS: "b"}, False),
            condition(
                "ForAllValues: negated, none is listed",
                {"ForAllValues:StringNotEquals": {TAGS: ["a", "b"]}},
                {TAGS: ("x", "y")},
                True,
            ),
            condition(
                "ForAllValues: negated, one is listed",
                {"ForAllValues:StringNotEquals": {TAGS: ["a", "b"]}},
                {TAGS: ("x", "a")},
                False,
            ),
            condition(
                "ForAnyValue: one is listed", {"ForAnyValue:StringEquals": {TAGS: ["a", "b"]}}, {TAGS: ("x", "b")}, True
            ),
            condition(
                "ForAnyValue: none is listed",
                {"ForAnyValue:StringEquals": {TAGS: ["a", "b"]}},
                {TAGS: ("x", "y")},
                False,
            ),
            condition("ForAnyValue: no key", {"ForAnyValue:StringEquals": {TAGS: "a"}}, {}, False),
            condition("ForAnyValue: no key, negated", {"ForAnyValue:StringNotEquals": {TAGS: "a"}}, {}, False),
            condition("ForAnyValue: no values", {"ForAnyValue:StringLike": {TAGS: "*"}}, {TAGS: ()}, False),
            condition(
                "ForAnyValue: negated, one is not listed",
                {"ForAnyValue:StringNotEquals": {TAGS: ["a", "b"]}},
                {TAGS: ("a", "x")},
                True,
            ),
            condition(
                "ForAnyValue: negated, all are listed",
                {"ForAnyValue:StringNotEquals": {TAGS: ["a", "b"]}},
                {TAGS: ("a", "b")},
                False,
            ),
            condition("ForAnyValue with IfExists: no key", {"ForAnyValue:StringEqualsIfExists": {TAGS: "a"}}, {}, True),
            condition(
                "no prefix: one of several values is enough", {"StringEquals": {TAGS: "a"}}, {TAGS: ("x", "a")}, True
            ),
            condition(
                "no prefix, negated: no value may match", {"StringNotEquals": {TAGS: "a"}}, {TAGS: ("x", "a")}, False
            ),
            # -- all must hold --
            condition(
                "two keys: both hold", {"StringEquals": {TEAM: "db", NAME: "al"}}, {TEAM: "db", NAME: "al"}, True
            ),
            condition(
                "two keys: one fails", {"StringEquals": {TEAM: "db", NAME: "al"}}, {TEAM: "db", NAME: "bo"}, False
            ),
            condition(
                "two operators: both hold",
                {"StringLike": {TEAM: "d*"}, "Bool": {TLS: "true"}},
                {TEAM: "db", TLS: "true"},
                True,
            ),
            condition(
                "two operators: one fails",
                {"StringLike": {TEAM: "d*"}, "Bool": {TLS: "true"}},
                {TEAM: "db", TLS: "false"},
                False,
            ),
            condition("no operators hold", {}, {}, True),
            # -- variables --
            condition(
                "a variable has its value", {"StringEquals": {TEAM: "${aws:username}"}}, {TEAM: "al", NAME: "al"}, True
            ),
            condition(
                "a variable with another's value",
                {"StringEquals": {TEAM: "${aws:username}"}},
                {TEAM: "al", NAME: "bo"},
                False,
            ),
            condition(
                "a variable in the middle",
                {"StringLike": {TEAM: "x-${aws:username}-*"}},
                {TEAM: "x-al-1", NAME: "al"},
                True,
            ),
            condition(
                "a variable's name in any case",
                {"StringEquals": {TEAM: "${AWS:UserName}"}},
                {TEAM: "al", NAME: "al"},
                True,
            ),
            condition(
                "a variable of a tag",
                {"StringEquals": {TEAM: "${aws:PrincipalTag/Cost Center}"}},
                {TEAM: "7", "aws:principaltag/cost center": "7"},
                True,
            ),
            condition(
                "a variable's star is a star",
                {"StringLike": {TEAM: "${aws:username}"}},
                {TEAM: "anyone", NAME: "*"},
                False,
            ),
            condition(
                "a variable without a value matches nothing",
                {"StringEquals": {TEAM: "${aws:username}"}},
                {TEAM: "${aws:username}"},
                False,
            ),
            condition(
                "a variable without a value beside a value",
                {"StringEquals": {TEAM: ["${aws:username}", "db"]}},
                {TEAM: "db"},
                True,
            ),
            condition(
                "a variable of a key with several values has none",
                {"StringEquals": {TEAM: "${aws:TagKeys}"}},
                {TEAM: "a", TAGS: ("a",)},
                False,
            ),
            condition("a default stands in", {"StringEquals": {TEAM: "${aws:username, 'all'}"}}, {TEAM: "all"}, True),
            condition(
                "a default stands back",
                {"StringEquals": {TEAM: "${aws:username, 'all'}"}},
                {TEAM: "all", NAME: "al"},
                False,
            ),
            condition("an empty default", {"StringEquals": {TEAM: "x${aws:username, ''}"}}, {TEAM: "x"}, True),
            condition("a default's star is a star", {"StringLike": {TEAM: "${aws:username, '*'}"}}, {TEAM: "q"}, False),
            condition("an escaped star", {"StringLike": {TEAM: "a${*}"}}, {TEAM: "a*"}, True),
            condition("an escaped star is not a wildcard", {"StringLike": {TEAM: "a${*}"}}, {TEAM: "ab"}, False),
            condition("an escaped question mark", {"StringLike": {TEAM: "a${?}"}}, {TEAM: "a?"}, True),
            condition(
                "an escaped question mark is not a wildcard", {"StringLike": {TEAM: "a${?}"}}, {TEAM: "ab"}, False
            ),
            condition(
                "an escaped dollar",
                {"StringEquals": {TEAM: "${$}{aws:username}"}},
                {TEAM: "${aws:username}", NAME: "al"},
                True,
            ),
            condition("a lone dollar", {"StringEquals": {TEAM: "5$"}}, {TEAM: "5$"}, True),
            condition(
                "a variable in an ARN",
                {"ArnLike": {ARN: "arn:aws:ec2:${aws:requestedregion}::snapshot/*"}},
                {ARN: PARENT, "aws:requestedregion": "us-east-1"},
                True,
            ),
            condition(
                "a variable cannot add parts to an ARN",
                {"ArnLike": {ARN: "arn:aws:ec2:${x:y}:*:*"}},
                {ARN: PARENT + ":x", "x:y": "us-east-1:"},
                False,
            ),
            doubtful(
                "a negated operator and a variable without a value",
                {"StringNotEquals": {TEAM: "${aws:username}"}},
                {TEAM: "db"},
            ),
            condition(
                "without a version a variable is plain text",
                {"StringEquals": {TEAM: "${aws:username}"}},
                {TEAM: "${aws:username}", NAME: "al"},
                True,
                version=None,
            ),
            condition(
                "without a version a variable has no value",
                {"StringEquals": {TEAM: "${aws:username}"}},
                {TEAM: "al", NAME: "al"},
                False,
                version=None,
            ),
            condition(
                "the older version has no variables",
                {"StringEquals": {TEAM: "${aws:username}"}},
                {TEAM: "al", NAME: "al"},
                False,
                version="2008-10-17",
            ),
            condition(
                "without a version stars are wildcards all the same",
                {"StringLike": {TEAM: "d*"}},
                {TEAM: "db"},
                True,
                version=None,
            ),
        ]
    )
)
