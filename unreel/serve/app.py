"""The routes. Each is a few lines: find the index that the page knows, ask, answer."""

import io
import logging
import mimetypes
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Thread
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from unreel.api.searching import slider_ends
from unreel.errors import DiskError, UnreelError
from unreel.serve import export, media, questions
from unreel.serve.guard import Guard, refusal
from unreel.serve.indexed import Gone
from unreel.serve.maps import packed
from unreel.serve.ranges import ranged
from unreel.serve.served import NotReady, Served, Stale
from unreel.serve.uploads import TooLarge, TooMany, TooSlow

log = logging.getLogger(__name__)
HERE = Path(__file__).parent
PAGE = {f"/{f.name}": f for f in HERE.iterdir() if f.suffix in (".css", ".js")} | {"/": HERE / "page.html"}
STATUS = {Gone: 410, Stale: 409, NotReady: 503, TooLarge: 413, TooSlow: 408, TooMany: 429, DiskError: 507}
PREPARE_S = 30.0
Seconds = Annotated[float, Query(ge=0, le=1e7, allow_inf_nan=False)]


def build_app(served: Served, token: str = "") -> FastAPI:
    """The server of an index. It closes `served` when it ends."""

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        warming = Thread(target=served.warm, daemon=True)
        warming.start()
        yield
        served.close()
        warming.join()

    app = FastAPI(lifespan=life, docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(Guard(token))
    app.exception_handler(UnreelError)(_sentence)
    app.exception_handler(RequestValidationError)(_malformed)
    app.exception_handler(HTTPException)(_http)
    app.exception_handler(Exception)(_unknown)
    for path in PAGE:
        app.get(path)(_page(path))
    _about(app, served)
    _videos(app, served)
    _asking(app, served)
    _queries(app, served)
    return app


def _page(path: str) -> Callable[[], Response]:
    media_type = mimetypes.guess_type(PAGE[path].name)[0]

    def page() -> Response:
        return Response(PAGE[path].read_bytes(), media_type=media_type, headers={"Cache-Control": "no-cache"})

    return page


def _about(app: FastAPI, served: Served) -> None:
    @app.get("/api/status")
    def status() -> dict[str, Any]:
        return served.status()

    @app.get("/api/index")
    def index() -> dict[str, Any]:
        now = served.now()
        found = now.index
        return {
            "id": now.id,
            "name": served.folder.absolute().name,
            "rows": len(found.rows),
            "videos": now.names,
            "labels": found.rows.labels,
            "slider": slider_ends(found),
            "nearest": str(found.nearest.description),
            "concepts": questions.concepts(now),
            "upload_bytes": served.options.upload.size_bytes,
        }

    @app.post("/api/reload")
    def reload() -> dict[str, Any]:
        return {"id": served.reload().id}

    @app.get("/api/{of}/map")
    def map_about(of: str, layout: str = "pca") -> dict[str, Any]:
        made = served.now(of).maps.get(layout)
        return {"ready": made is not None} if made is None else {"ready": True, "clusters": made.said}

    @app.get("/api/{of}/map.bin")
    def map_points(of: str, layout: str = "pca") -> Response:
        now = served.now(of)
        made = now.maps.get(layout)
        if made is None:
            return refusal(404, "the map is being made; ask again in a moment")
        return Response(packed(now.index, made), media_type="application/octet-stream")


def _videos(app: FastAPI, served: Served) -> None:
    @app.get("/api/{of}/videos/{number}/file")
    def video(of: str, number: int, request: Request) -> Response:
        files = served.now(of).files
        source = files.open(number)
        kind = mimetypes.guess_type(files.paths[number])[0] or "application/octet-stream"
        return ranged(source, kind, request.headers.get("range"))

    @app.get("/api/{of}/videos/{number}/poster")
    def poster(of: str, number: int, at: Seconds) -> Response:
        files = served.now(of).files
        made = served.previews.poster(files.path(number), files.known_file(number).content_hash, at)
        return ranged(io.BytesIO(made), "image/jpeg", None)

    @app.get("/api/{of}/videos/{number}/preview")
    def preview(of: str, number: int, start: Seconds, end: Seconds, request: Request) -> Response:
        files = served.now(of).files
        made = served.previews.preview(files.path(number), files.known_file(number).content_hash, start, end)
        return ranged(io.BytesIO(made), "video/mp4", request.headers.get("range"))


def _asking(app: FastAPI, served: Served) -> None:
    @app.post("/api/search")
    def search(asked: questions.Search) -> dict[str, Any]:
        return questions.search(served, asked)

    @app.post("/api/rank")
    def rank(asked: questions.Rank) -> dict[str, Any]:
        return questions.rank(served, asked)

    @app.post("/api/moments")
    def moments(asked: questions.Selected) -> dict[str, Any]:
        return questions.moments(served, asked)

    @app.post("/api/concepts")
    def save(asked: questions.SaveConcept) -> dict[str, Any]:
        return questions.save(served, asked)

    @app.get("/api/{of}/concepts/{name}")
    def marks(of: str, name: str) -> dict[str, Any]:
        return questions.marks_of(served, of, name)

    @app.post("/api/export.csv")
    def csv(asked: questions.Selected) -> Response:
        return PlainTextResponse(export.table(served, asked), media_type="text/csv; charset=utf-8")

    @app.post("/api/export.zip")
    def clips(asked: questions.Selected) -> Response:
        return ranged(export.cut_clips(served, asked), "application/zip", None)


def _queries(app: FastAPI, served: Served) -> None:
    @app.post("/api/queries")
    async def upload(request: Request, name: str = "") -> dict[str, Any]:
        """The body is the file itself, so that it is counted while it comes."""
        kept, path = await served.uploads.keep(name[-100:], request.headers.get("content-length"), request.stream())
        try:
            length_s = await run_in_threadpool(served.previews.apart.call, PREPARE_S, media.length_s, str(path))
        except UnreelError as error:
            served.uploads.drop(kept)
            raise media.no_query(name, error) from error
        return {"query": kept, "length_s": length_s}

    @app.get("/api/queries/{query}/preview")
    def preview(query: str, start: Seconds, end: Seconds, request: Request) -> Response:
        path = str(served.uploads.path(query))
        made = served.previews.preview(path, query, start, end)
        return ranged(io.BytesIO(made), "video/mp4", request.headers.get("range"))


async def _sentence(_request: Request, error: Exception) -> JSONResponse:
    return refusal(next((code for kind, code in STATUS.items() if isinstance(error, kind)), 400), str(error))


async def _malformed(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = " ".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    return refusal(422, f"that can't be asked: {where or 'the request'}: {first['msg']}")


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return refusal(error.status_code, f"{request.method} {request.url.path}: {error.detail}")


async def _unknown(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s", request.method, request.url.path, exc_info=error)
    return refusal(500, "something went wrong in the server; what, it wrote to its terminal")
