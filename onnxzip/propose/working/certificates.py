"""What Dask's configuration says of certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxzip.errors import ClusterError

if TYPE_CHECKING:
    from distributed.security import Security


def security_for(address: str) -> Security:
    """Return what Dask's configuration says of certificates, which tls:// needs.

    Raises:
        ClusterError: there are none, or they cannot be read.
    """
    from distributed.security import Security

    place = "name them in Dask's configuration: distributed.comm.tls.ca-file, .client.cert, .client.key"
    try:
        security = Security()
        context = security.get_connection_args("client").get("ssl_context")
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise ClusterError(
            f"`cluster` {address}: its certificates cannot be read ({error}); {place}"
        ) from error
    if context is None and address.startswith("tls:"):
        raise ClusterError(f"`cluster` {address}: needs certificates; {place}")
    return security
