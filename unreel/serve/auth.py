"""Who may ask: those with the token where there is one, from this page alone, and with requests of a sane size."""

import hmac
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

COOKIE_NAME = "unreel"
CONTENT_LENGTH = re.compile("[0-9]{1,18}")
MAX_JSON_BYTES = 4 * 2**20
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
SECURITY_HEADERS = {
    # Nothing on the page may come from elsewhere or go there, whatever a file name or label says.
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
    """Without a token only this machine is listened to, and then by its own names: a name of another site that was made
    to point here (DNS rebinding) is refused."""

    token: str = ""

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        response = self.check_request(request) or self.check_token(request) or await call_next(request)
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    def check_request(self, request: Request) -> Response | None:
        try:
            host = request.url.hostname or ""
            origin = urlsplit(request.headers.get("origin", "")).netloc
        except ValueError:
            return make_error_response(400, "the Host or Origin of this request is no address")
        if not self.token and host not in LOCAL_HOSTS:
            return make_error_response(403, f"this server answers as 127.0.0.1 or localhost, not as '{host}'")
        if request.headers.get("origin") and origin != request.headers.get("host"):
            return make_error_response(403, f"asked by another page, {request.headers['origin']}")
        if request.method == "POST" and not request.url.path.startswith("/api/queries"):
            length = request.headers.get("content-length", "")
            if not CONTENT_LENGTH.fullmatch(length):
                return make_error_response(411, "a request must say how long it is")
            if int(length) > MAX_JSON_BYTES:
                return make_error_response(413, f"a request may have {MAX_JSON_BYTES >> 20} MB at most; select fewer")
        return None

    def check_token(self, request: Request) -> Response | None:
        """None for who has the token; who brings it in the address gets it as a cookie and an address without it."""
        if not self.token:
            return None
        if self._is_token(request.query_params.get("token", "")):
            answer = RedirectResponse(request.url.path, 303)
            answer.set_cookie(COOKIE_NAME, self.token, httponly=True, samesite="strict")
            return answer
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._is_token(bearer) or self._is_token(request.cookies.get(COOKIE_NAME, "")):
            return None
        return make_error_response(401, "this server wants a token: open the address that `unreel serve` printed")

    def _is_token(self, candidate: str) -> bool:
        return hmac.compare_digest(candidate.encode(), self.token.encode())
