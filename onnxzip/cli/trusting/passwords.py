"""The password of the key to sign with: of the environment, or of who sits at the terminal."""

from __future__ import annotations

import getpass
import os
import sys
from dataclasses import replace

from onnxzip.cli.arguments import Request
from onnxzip.cli.trusting.flags import PASSWORD
from onnxzip.errors import UsageError


def with_password(request: Request) -> Request:
    """Return what is asked for with the password of its key, before any work is done.

    Raises:
        UsageError: it has one that is not given, and there is nobody to ask.
        TrustError: the key cannot be read.
    """
    delivery = request.delivery
    if delivery.sign is None or delivery.key_password is not None:
        return request
    from onnxzip.trust.sign import is_encrypted

    if not is_encrypted(delivery.sign):
        return request
    given = os.environ.get(PASSWORD)
    if given is None:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(f"`sign` {delivery.sign}: has a password; put it into {PASSWORD}")
        given = getpass.getpass(f"Password of {delivery.sign}: ")
    return replace(request, delivery=replace(delivery, key_password=given.encode()))
