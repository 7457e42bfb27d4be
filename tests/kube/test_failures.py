"""What an API server's answers mean to a user."""

from typing import Any

import pytest

from pocketkube.kube.failures import ApiServerAway, Refused, refusal


def status(code: int, reason: str, message: str) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "reason": reason, "message": message}


QUOTA = 'pods "p" is forbidden: exceeded quota: small, requested: pods=1, used: pods=3, limited: pods=3'
RIGHTS = 'jobs.batch is forbidden: User "u" cannot create resource "jobs" in API group "batch"'
ENDING = "unable to create new content in namespace x because it is being terminated"


@pytest.mark.parametrize(
    ("answer", "ends"),
    [
        (status(403, "Forbidden", QUOTA), "have the namespace's ResourceQuota raised."),
        (status(403, "Forbidden", RIGHTS), "; grant it to that account by a Role and a RoleBinding."),
        (
            status(403, "Forbidden", ENDING),
            "wait until it is gone, or use another.",
        ),
        (
            status(422, "Invalid", "Job x is invalid: spec.a: Required"),
            "; correct the named fields.",
        ),
        (status(401, "Unauthorized", "Unauthorized"), "renew the kubeconfig or the account's token."),
        (
            status(409, "AlreadyExists", 'configmaps "a" already exists'),
            'configmaps "a" already exists.',
        ),
        ("<html>\nForbidden</html>", "refuses: 403 <html> Forbidden</html>."),
    ],
)
def test_a_refusal_says_what_mends_it(answer: Any, ends: str) -> None:
    code = answer["code"] if isinstance(answer, dict) else 403
    error = refusal("Job x in namespace y", code, answer)
    assert isinstance(error, Refused)
    assert str(error).startswith("Job x in namespace y: the API server refuses: ")
    assert str(error).endswith(ends)
    assert error.status == code


@pytest.mark.parametrize(
    ("code", "retry_after", "seconds"),
    [(429, "3", 3.0), (503, None, None), (500, "Fri, 31 Dec 1999 23:59:59 GMT", None)],
)
def test_what_passes_says_how_long_to_wait(
    code: int, retry_after: str | None, seconds: float | None
) -> None:
    error = refusal("Job x", code, status(code, "", "not now"), retry_after)
    assert isinstance(error, ApiServerAway)
    assert (error.status, error.retry_after_s) == (code, seconds)
    assert str(error) == f"Job x: the API server answers {code}: not now."
