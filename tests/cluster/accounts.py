"""Asks the API server as a service account, with a token that it gives out for it."""

from kubernetes import client


def api_as(account: str, namespace: str) -> client.ApiClient:
    """A client that is a service account and nobody else.

    Args:
        account: The account's name.
        namespace: Its namespace.
    """
    token = client.CoreV1Api().create_namespaced_service_account_token(
        account, namespace, {"spec": {"expirationSeconds": 600}}
    )
    own = client.Configuration.get_default_copy()
    own.cert_file = own.key_file = None
    own.username = own.password = None
    own.api_key = {"authorization": f"Bearer {token.status.token}"}
    return client.ApiClient(own)
