"""The web application: its routes, and the HTTP status of each error."""

import errno
import io
import logging
import mimetypes
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Thread
from typing import Annotated, Any

import anyio
import anyio.to_thread
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response

from unreel.errors import DiskError, UnreelError, VideoError
from unreel.indexing.concepts.concept_update import list_concepts
from unreel.indexing.homes.home import HomeChangedError, HomeDownError
from unreel.models.encoder.view_weights import find_slider_ends
from unreel.serve import handlers, selection_export
from unreel.serve.auth import HEALTH_PATH, AuthMiddleware, make_error_response
from unreel.serve.media import transcoding
from unreel.serve.media.indexed_files import VideoGoneError
from unreel.serve.media.range_response import make_range_response
from unreel.serve.media.uploads import TooManyUploadsError, UploadTimeoutError, UploadTooLargeError
from unreel.serve.projections import pack_points
from unreel.serve.requests import (
    PAGE_VERSION,
    LabelsRequest,
    RankRequest,
    SaveConceptRequest,
    SearchRequest,
    SelectionRequest,
    VideosRequest,
)
from unreel.serve.state import IndexNotReadyError, ServerState, StaleIndexError, describe_verdict

log = logging.getLogger(__name__)
WEB_FOLDER = Path(__file__).parent / "web"
WEB_FILES = {f"/{f.name}": f for f in WEB_FOLDER.iterdir() if f.suffix in (".css", ".js")} | {
    "/": WEB_FOLDER / "index.html"
}
STATUS_CODES = {
    VideoGoneError: 410,
    StaleIndexError: 409,
    HomeChangedError: 409,
    HomeDownError: 503,
    IndexNotReadyError: 503,
    UploadTooLargeError: 413,
    UploadTimeoutError: 408,
    TooManyUploadsError: 429,
    DiskError: 507,
}  # of other errors: 400
CLIENT_CLOSED_STATUS, FULL_DISK_ERRNOS = 499, (errno.ENOSPC, errno.EDQUOT)
PROBE_TIMEOUT_S = 30.0
MAX_LABELS_SENT = 1000  # with the index itself; of more, the page asks for those it shows
OTHER_PAGE = "this page is of another version of unreel than its server; load the page again"
Seconds = Annotated[float, Query(ge=0, le=1e7, allow_inf_nan=False)]


def build_app(state: ServerState, token: str = "") -> FastAPI:
    """The application that serves an index; it closes `state` when it ends."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        warm_up = Thread(target=state.warm_up, daemon=True)
        warm_up.start()
        yield
        state.close()
        warm_up.join()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(AuthMiddleware(token))
    app.exception_handler(UnreelError)(_handle_unreel_error)
    app.exception_handler(RequestValidationError)(_handle_validation_error)
    app.exception_handler(HTTPException)(_handle_http_error)
    app.exception_handler(ClientDisconnect)(_handle_disconnect)
    app.exception_handler(OSError)(_handle_os_error)
    app.exception_handler(Exception)(_handle_unexpected_error)
    for path in WEB_FILES:
        app.get(path)(_make_file_route(path))
    _add_index_routes(app, state)
    _add_video_routes(app, state)
    _add_search_routes(app, state)
    _add_upload_routes(app, state)
    return app


def _make_file_route(path: str) -> Callable[[], Response]:
    media_type = mimetypes.guess_type(WEB_FILES[path].name)[0]

    def page() -> Response:
        return Response(WEB_FILES[path].read_bytes(), media_type=media_type, headers={"Cache-Control": "no-cache"})

    return page


def _add_index_routes(app: FastAPI, state: ServerState) -> None:
    status_threads = anyio.CapacityLimiter(2)

    @app.get("/api/status")
    async def status(page: int = 0) -> dict[str, Any]:
        """In threads of its own: in those of other requests it would wait behind previews that are being made.

        Pages from before PAGE_VERSION name none, and show what is `missing`: so they say that they are old.
        """
        now = await anyio.to_thread.run_sync(state.status, limiter=status_threads)
        return now if page == PAGE_VERSION else now | {"missing": OTHER_PAGE}

    @app.get(HEALTH_PATH)
    async def health() -> Response:
        """For who watches the server, also without the token, so it says no more; 503 without an index."""
        is_ready = state.snapshot is not None
        return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)

    @app.get("/api/index")
    def describe_index(page: int = PAGE_VERSION) -> dict[str, Any]:
        """Its size does not grow with the index; videos and labels are asked for where they are shown."""
        if page != PAGE_VERSION:
            raise StaleIndexError(OTHER_PAGE)
        snapshot = state.get_snapshot()
        index = snapshot.index
        labels = index.rows.labels
        return {
            "id": snapshot.id,
            "name": state.source.name,
            "folder": state.source.place,
            "commands": [name for name in state.options.commands if name not in state.source.lacks_commands],
            "rows": len(index.rows),
            "num_videos": len(index.rows.paths),
            "num_labels": len(labels),
            "labels": labels if len(labels) <= MAX_LABELS_SENT else [],
            "slider": find_slider_ends(index.views),
            "motion": index.parts.motion_weight,
            "nearest": str(index.ann_index.description),
            "approximate": index.ann_index.description.describe_recall(),
            "concepts": list_concepts(index),
            "verdict": describe_verdict(index.folder),
            "upload_bytes": state.options.upload_limits.max_bytes,
        }

    @app.post("/api/reload")
    def reload() -> dict[str, Any]:
        return {"id": state.reload().id}

    @app.get("/api/{index_id}/map")
    def map_status(index_id: str, layout: str = "pca") -> dict[str, Any]:
        projection = state.get_snapshot(index_id).projections.get(layout)
        return {"ready": False} if projection is None else {"ready": True, "clusters": projection.description}

    @app.get("/api/{index_id}/map.bin")
    def map_points(index_id: str, layout: str = "pca") -> Response:
        snapshot = state.get_snapshot(index_id)
        projection = snapshot.projections.get(layout)
        if projection is None:
            return make_error_response(404, "the map is being made; ask again in a moment")
        return Response(pack_points(snapshot.index, projection), media_type="application/octet-stream")


def _add_video_routes(app: FastAPI, state: ServerState) -> None:
    @app.post("/api/videos")
    def videos(body: VideosRequest) -> Response:
        return JSONResponse(handlers.handle_videos(state, body))

    @app.post("/api/labels")
    def labels(body: LabelsRequest) -> Response:
        return JSONResponse(handlers.handle_labels(state, body))

    @app.get("/api/{index_id}/videos/{number}")
    def describe_video(index_id: str, number: int) -> dict[str, Any]:
        snapshot = state.get_snapshot(index_id)
        snapshot.files.get_record(number)  # or it is not in the index
        return handlers.video_to_json(snapshot, number)

    @app.get("/api/{index_id}/videos/{number}/file")
    def video(index_id: str, number: int, request: Request) -> Response:
        files = state.get_snapshot(index_id).files
        source = files.open(number)
        media_type = mimetypes.guess_type(files.paths[number])[0] or "application/octet-stream"
        return make_range_response(source, media_type, request.headers.get("range"))

    @app.get("/api/{index_id}/videos/{number}/poster")
    def poster(index_id: str, number: int, at: Seconds) -> Response:
        files = state.get_snapshot(index_id).files
        data = state.previews.get_poster(files.resolve_path(number), files.get_record(number).content_hash, at)
        return make_range_response(io.BytesIO(data), "image/jpeg", None)

    @app.get("/api/{index_id}/videos/{number}/preview")
    def preview(index_id: str, number: int, start: Seconds, end: Seconds, request: Request) -> Response:
        files = state.get_snapshot(index_id).files
        content_hash = files.get_record(number).content_hash
        data = state.previews.get_preview(files.resolve_path(number), content_hash, start, end)
        return make_range_response(io.BytesIO(data), "video/mp4", request.headers.get("range"))


def _add_search_routes(app: FastAPI, state: ServerState) -> None:
    @app.post("/api/search")
    def search(body: SearchRequest) -> Response:
        return JSONResponse(handlers.handle_search(state, body))  # as text here, not by FastAPI in the event loop

    @app.post("/api/rank")
    def rank(body: RankRequest) -> Response:
        return JSONResponse(handlers.handle_rank(state, body))

    @app.post("/api/moments")
    def moments(body: SelectionRequest) -> Response:
        return JSONResponse(handlers.handle_moments(state, body))

    @app.post("/api/concepts")
    def save(body: SaveConceptRequest) -> dict[str, Any]:
        return handlers.handle_save_concept(state, body)

    @app.get("/api/{index_id}/concepts/{name}")
    def marks(index_id: str, name: str) -> dict[str, Any]:
        return handlers.handle_annotations(state, index_id, name)

    @app.post("/api/export.csv")
    def csv(body: SelectionRequest) -> Response:
        return PlainTextResponse(selection_export.export_csv(state, body), media_type="text/csv; charset=utf-8")

    @app.post("/api/export.zip")
    def clips(body: SelectionRequest) -> Response:
        return make_range_response(selection_export.export_zip(state, body), "application/zip", None)


def _add_upload_routes(app: FastAPI, state: ServerState) -> None:
    @app.post("/api/queries")
    async def upload(request: Request, name: str = "") -> dict[str, Any]:
        """The body is the file itself, so that its size is checked while it arrives."""
        query, path = await state.uploads.save(name[-100:], request.headers.get("content-length"), request.stream())
        try:
            length_s = await run_in_threadpool(
                state.previews.worker_pool.call, PROBE_TIMEOUT_S, transcoding.probe_duration_s, str(path)
            )
        except UnreelError as error:
            state.uploads.delete(query)
            raise transcoding.make_query_error(name, error) from error
        return {"query": query, "length_s": length_s}

    @app.get("/api/queries/{query}/preview")
    def preview(query: str, start: Seconds, end: Seconds, request: Request) -> Response:
        path = str(state.uploads.get_path(query))
        data = state.previews.get_preview(path, query, start, end)
        return make_range_response(io.BytesIO(data), "video/mp4", request.headers.get("range"))


async def _handle_unreel_error(_request: Request, error: Exception) -> JSONResponse:
    status, text = next((code for kind, code in STATUS_CODES.items() if isinstance(error, kind)), 400), str(error)
    if isinstance(error, VideoError):  # without the server's folders
        text = text.replace(error.path, Path(error.path).name)
    return make_error_response(status, text)


async def _handle_validation_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = " ".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    return make_error_response(422, f"not a valid request: {field or 'body'}: {first['msg']}")


async def _handle_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return make_error_response(error.status_code, f"{request.method} {request.url.path}: {error.detail}")


async def _handle_disconnect(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_STATUS)  # nobody reads it


async def _handle_os_error(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, OSError) and error.errno in FULL_DISK_ERRNOS:
        return make_error_response(507, "the server's disk is full; free some space and try again")
    return await _handle_unexpected_error(request, error)


async def _handle_unexpected_error(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s", request.method, request.url.path, exc_info=error)
    return make_error_response(500, "something went wrong in the server; its terminal shows what")
