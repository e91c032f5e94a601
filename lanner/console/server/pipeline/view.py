"""The page of the pipeline."""

import asyncio
from collections.abc import Sequence

from aiohttp import web

from lanner.console.server.context import console
from lanner.console.server.pipeline.desk import SHOWN, PipelineDesk, ShownDeadLetters
from lanner.console.server.pipeline.patient import NotReadable, PatientReading, Value
from lanner.console.server.views.rendering import page
from lanner.operations.pipeline.queues import PipelineQueue


async def pipeline(request: web.Request) -> web.StreamResponse:
    """Show what waits for whom, and dead letters; each without the other if one can't be read."""
    desk = console(request).pipeline
    if desk is None:
        return page(request, "pipeline.html", has_pipeline=False)
    queues, letters = await asyncio.gather(_queues(desk), _letters(desk))
    return page(
        request,
        "pipeline.html",
        has_pipeline=True,
        queues=queues,
        letters=letters,
        remarks=desk.remarks,
        most=SHOWN,
    )


async def _queues(desk: PipelineDesk) -> Sequence[PipelineQueue] | str:
    return await _read(desk.queues)


async def _letters(desk: PipelineDesk) -> ShownDeadLetters | str:
    return await _read(desk.letters)


async def _read(reading: PatientReading[Value]) -> Value | str:
    """Return what is read, or why it can't be."""
    try:
        return await reading.get()
    except NotReadable as error:
        return str(error)


ROUTES = (web.get("/pipeline", pipeline),)
