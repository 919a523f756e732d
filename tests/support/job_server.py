"""A job server in the place of Ray's, which says what a test wants to hear of jobs; and a recipe to submit."""

from typing import Any

import pytest
from ray.job_submission import JobDetails

from bootstrap.cluster import jobs
from bootstrap.cluster.jobs import JobServer

ADDRESS = "http://127.0.0.1:9"
RECIPE = """
name: tiny
task: {type: copy, base_level: 2}
base:
  model: {type: scratch, hidden_size: 16, intermediate_size: 16, num_layers: 1, num_heads: 2}
  steps: [{type: sft, updates: 2, batch_size: 8}]
generations:
  count: 1
  steps: [{type: rl, rounds: 2, prompts_per_update: 2, group_size: 2, distillation: {batch_size: 4}}]
"""


def job(submission_id: str | None = "x", *, status: str = "RUNNING", own: bool = True, **fields: Any) -> JobDetails:
    """Return what a job server says of a job, by default one that an earlier version of this program submitted."""
    known = {"bootstrap.lineage": "tiny", "bootstrap.store": "/shared/runs", "bootstrap.recipe": "tiny"}
    kind = "SUBMISSION" if submission_id else "DRIVER"
    given = {"entrypoint": "", "metadata": known if own else {"owner": "somebody"}, **fields}
    return JobDetails(type=kind, status=status, submission_id=submission_id, **given)


class Jobs:
    """A job server's client: what it says of its jobs, state after state of a job that is asked for again and again."""

    def __init__(self, *states: JobDetails, nodes: Any = None) -> None:
        self.states, self.at = states, 0
        self.submitted: list[dict[str, Any]] = []
        self.stops: list[str] = []
        self.heard = True
        """Whether anybody is there who can be handed a request to stop."""
        self._nodes = nodes

    def list_jobs(self) -> list[JobDetails]:
        return list({state.submission_id: state for state in self.states[:1]}.values())

    def get_job_info(self, submission_id: str) -> JobDetails:
        self.at = min(self.at + 1, len(self.states) - 1)
        return self.states[self.at]

    def get_job_logs(self, submission_id: str) -> str:
        return "at work\n"

    def stop_job(self, submission_id: str) -> bool:
        self.stops.append(submission_id)
        return self.heard or len(self.stops) > 1

    def submit_job(self, **job: Any) -> None:
        self.submitted.append(job)

    def nodes(self) -> Any:
        return self._nodes


class Several(Jobs):
    """A job server with all of these jobs at once."""

    def list_jobs(self) -> list[JobDetails]:
        return list(self.states)


class Agentless(Jobs):
    """A job server whose agent is not there for the first `failures` submissions."""

    def __init__(self, failures: int, nodes: Any) -> None:
        super().__init__(nodes=nodes)
        self.failures = failures

    def submit_job(self, **job: Any) -> None:
        if len(self.submitted) < self.failures:
            self.submitted.append(job)
            raise RuntimeError("Request failed with status code 500: No available agent to submit job, please try ...")


def serve(monkeypatch: pytest.MonkeyPatch, client: Any) -> JobServer:
    monkeypatch.setattr(jobs, "open_client", lambda _: client)
    return JobServer(ADDRESS)
