"""A process that speaks as vLLM's does and holds no model, as `program` of a `VllmProcess`."""

import json
import os
import sys
import time
from typing import Any

from bootstrap.rollouts import vllm_server

LETTER_7 = 11
"""The character 7 of `vllm_models.CHARACTERS`, behind four special tokens."""


class Double(vllm_server.VllmServer):
    """Draws 7 forever, three tokens a step, whatever is asked."""

    def start(self, files: Any, **settings: Any) -> Any:
        self.policy = settings["fingerprint"]
        return {"done": {"max_length": 64, "sizes": [len(files[name]) for name in sorted(files)]}}

    def generate(self, files: Any, *, policy: str, asked: Any, sampling: Any, **_: Any) -> Any:
        if policy != self.policy:
            return {"mismatch": f"vLLM holds weights {self.policy}, the plan names {policy}"}
        running, drawn = list(range(len(asked))), 0
        while running and drawn < sampling["max_tokens"]:
            drawn += 3
            self._send({"step": [(number, [LETTER_7] * 3, [-0.5] * 3) for number in running]})
            stopped = json.loads(self.connection.recv_bytes())
            running = [number for number in running if number not in stopped]
        return {"done": policy}

    def hang(self, files: Any) -> Any:
        time.sleep(600)

    def fail(self, files: Any) -> Any:
        sys.exit("the reason")

    def which(self, files: Any) -> Any:
        return {"done": os.getpid()}


if __name__ == "__main__":
    vllm_server.VllmServer = Double
    vllm_server.main()
