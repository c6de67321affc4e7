"""The plugin's routes in vLLM's API server. Both only read; with an API key set both need it, as vLLM's own do."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse
from vllm import envs
from vllm.entrypoints.serve.middleware.authenticate import AuthenticationMiddleware

from zo_runtime.serving.contract import ADAPTERS_ROUTE

router = APIRouter()


def _require_key(request: Request) -> None:
    """vLLM guards only the paths that it knows; this is the same check for ours."""
    args = request.app.state.args
    tokens = [key for key in (args.api_key or [envs.VLLM_API_KEY]) if key]
    if tokens and not AuthenticationMiddleware(request.app, tokens).verify_token(request.headers):
        raise HTTPException(status_code=401, detail="Unauthorized")


@router.get(ADAPTERS_ROUTE)
async def show_adapters(request: Request, _: Annotated[None, Depends(_require_key)]) -> JSONResponse:
    """What this replica serves under each model name."""
    follower = getattr(request.app.state, "zo_follower", None)
    if follower is None:
        raise HTTPException(status_code=503, detail="the plugin zofinetune could not start; see the server's log")
    return JSONResponse(follower.answer().model_dump(mode="json", by_alias=True))


@router.get("/v1/models")
async def show_models(request: Request) -> JSONResponse:
    """vLLM's list, with adapters under the names that clients call: the engine knows each version by its own."""
    models = request.app.state.openai_serving_models
    names = {lora.lora_name: name for name, lora in models.lora_requests.items()}
    cards = (await models.show_available_models()).model_dump()
    for card in cards["data"]:
        card["id"] = names.get(card["id"], card["id"])
    return JSONResponse(cards)
