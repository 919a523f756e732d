"""The process of vLLM without our repair of its output matrix, as `program` of a `VllmProcess`."""

from bootstrap.rollouts import vllm_server, vllm_weights

vllm_weights.repair_tied_head = lambda model: None

if __name__ == "__main__":
    vllm_server.main()
