"""The S3 server of the storage tests."""

from tests.storage.conftest import downloads, gateway, s3, versitygw

__all__ = ["downloads", "gateway", "s3", "versitygw"]
