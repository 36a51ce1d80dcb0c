"""Snapstone: a self-hosted service that speaks the Amazon EBS direct APIs."""

__version__ = "0.1.0"
