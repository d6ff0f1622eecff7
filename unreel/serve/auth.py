"""Which requests are accepted: with the token if there is one, from this page only, and of limited size."""

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

HEALTH_PATH = "/api/health"
CONTENT_LENGTH = re.compile("[0-9]{1,18}")
HOST = re.compile(r"(?:[\w.-]{1,255}|\[[0-9a-fA-F:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII)
MAX_JSON_BYTES = 4 * 2**20
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
SECURITY_HEADERS = {
    # The page loads nothing from elsewhere and sends nothing there, whatever a file name or label contains.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
CallNext = Callable[[Request], Awaitable[Response]]


def make_error_response(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status)


@dataclass(frozen=True)
class AuthMiddleware:
    """Without a token, only requests to this machine's own names are accepted: another site's name that points here
    (DNS rebinding) is refused."""

    token: str = ""

    @property
    def cookie_name(self) -> str:
        """A name for each token: a browser sends a cookie to every port of a host, and so to another server there."""
        return f"unreel-{hashlib.blake2b(self.token.encode(), digest_size=4).hexdigest()}"

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        response = self.check_request(request) or self.check_token(request) or await call_next(request)
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    def check_request(self, request: Request) -> Response | None:
        if not HOST.fullmatch(request.headers.get("host", "")):
            return make_error_response(400, "the Host of this request is not a valid address")
        if "content-length" in request.headers and "transfer-encoding" in request.headers:
            return make_error_response(400, "a request states its length in one way, not in two")
        try:
            host = request.url.hostname or ""
            origin = urlsplit(request.headers.get("origin", "")).netloc
        except ValueError:
            return make_error_response(400, "the Host or Origin of this request is not a valid address")
        if not self.token and host not in LOOPBACK_HOSTS:
            known = f"this server answers as 127.0.0.1 or localhost, not as '{host}'"
            return make_error_response(403, f"{known}; for other names start it with --token")
        if request.headers.get("origin") and origin != request.headers.get("host"):
            other = f"this request comes from another page, {request.headers['origin']}"
            asked = f"it was sent to {request.headers['host']}; a proxy in between has to pass on the Host it got"
            return make_error_response(403, f"{other}: {asked}")
        if request.method == "POST" and not request.url.path.startswith("/api/queries"):
            length = request.headers.get("content-length", "")
            if not CONTENT_LENGTH.fullmatch(length):
                return make_error_response(411, "a request needs a Content-Length")
            if int(length) > MAX_JSON_BYTES:
                return make_error_response(413, f"a request may have {MAX_JSON_BYTES >> 20} MB at most; select fewer")
        return None

    def check_token(self, request: Request) -> Response | None:
        """None for a request with the token. A token in the address becomes a cookie, by a redirect without it."""
        if not self.token or request.url.path == HEALTH_PATH:
            return None
        if self._is_token(request.query_params.get("token", "")):
            redirect = RedirectResponse("/" + request.url.path.lstrip("/\\"), 303)  # `//name` would be another site
            is_encrypted = request.url.scheme == "https"
            redirect.set_cookie(self.cookie_name, self.token, httponly=True, samesite="strict", secure=is_encrypted)
            return redirect
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._is_token(bearer) or self._is_token(request.cookies.get(self.cookie_name, "")):
            return None
        return make_error_response(401, "this server requires a token: open the address that `unreel serve` printed")

    def _is_token(self, candidate: str) -> bool:
        return hmac.compare_digest(candidate.encode(), self.token.encode())
