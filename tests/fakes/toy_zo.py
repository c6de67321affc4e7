"""`zo` with the toy model in the place of vLLM: every command is the real one."""

from __future__ import annotations

from pathlib import Path

from fakes.toy_shop import ShopModel
from zo_runtime.cli import main
from zo_runtime.scoring import base_model


class Model(ShopModel):
    """`VllmModel` for the commands."""

    def __init__(self, spec, options):
        super().__init__(Path(spec.model.name))


if __name__ == "__main__":
    base_model.VllmModel = Model
    main()
