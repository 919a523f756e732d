"""The stages of a generation, each resumable: where tasks, workers, verifiers and store meet; `loop.py` orders them."""
