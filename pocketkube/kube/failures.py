"""What an API server's refusals and absences are to a user: one line that says what mends them."""

from typing import Any

from pocketkube.errors import UserError

# With these the same request may succeed later.
PASSING_STATUSES = (408, 429, 500, 502, 503, 504)


class ApiServerAway(UserError):
    """The API server cannot be reached, or fails by itself: the same request may succeed later.

    Attributes:
        status: HTTP status of its answer; None where there was none, or only a part of it.
        retry_after_s: How long the server asks to wait; None where it does not say.
    """

    def __init__(self, message: str, status: int | None = None, retry_after_s: float | None = None):
        super().__init__(message)
        self.status, self.retry_after_s = status, retry_after_s


class Refused(UserError):
    """The API server said no.

    Attributes:
        status: HTTP status.
        reason: Kubernetes's word for it, such as Forbidden, Invalid, NotFound or AlreadyExists.
        said: The server's own sentence.
    """

    def __init__(self, what: str, status: int, reason: str, said: str):
        self.status, self.reason, self.said = status, reason, said
        hint = _hint(status, reason, said)
        said = said.rstrip(". ")
        super().__init__(f"{what}: the API server refuses: {said}" + (f"; {hint}." if hint else "."))


class NotInTime(UserError):
    """Something on the cluster did not come about within the time that it was given."""


def refusal(what: str, status: int, answer: Any, retry_after: str | None = None) -> UserError:
    """What an answer means that is not a success.

    Args:
        what: What was asked for, for the message.
        status: HTTP status.
        answer: What came with it: Kubernetes's Status as a document, or whatever text a proxy sends.
        retry_after: The header of that name.
    """
    if isinstance(answer, dict) and answer.get("kind") == "Status":
        said, reason = str(answer.get("message") or status), str(answer.get("reason") or "")
    else:
        said, reason = f"{status} {answer!s:.200}".strip(), ""
    # A quota's count was changed by another request at the same moment, not the object itself.
    is_quota_race = status == 409 and reason == "Conflict" and "resourcequotas" in said
    if status in PASSING_STATUSES or is_quota_race:
        seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
        told = f"{what}: the API server answers {status}: {said.rstrip('. ')}."
        return ApiServerAway(told, status, seconds)
    return Refused(what, status, reason, said)


def _hint(status: int, reason: str, said: str) -> str:
    if "exceeded quota" in said or "must specify" in said:
        return "ask for less, end what runs, or have the namespace's ResourceQuota raised"
    if "violates PodSecurity" in said:
        return "the namespace enforces pod security, and this pod asks for more than it grants"
    if "is being terminated" in said:
        return "the namespace is being deleted: wait until it is gone, or use another"
    if status == 401:
        return "the credentials are wrong or have expired: renew the kubeconfig or the account's token"
    if status == 403 and "cannot" in said:
        return "grant it to that account by a Role and a RoleBinding"
    if status == 404 and "the server could not find" in said:
        return (
            "that version of the kind is not installed on the cluster: pocketkube doctor names what "
            "installs it"
        )
    if status == 422 or reason == "Invalid":
        return "correct the named fields"
    return ""
