"""Each reader of foreign bytes under atheris, which looks for bytes that take new ways (`make fuzz`).

FUZZ_RUNS, 100,000 unless set, is the number of inputs for each reader; finds are kept in build/fuzz.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.fuzz_readers import READERS

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "fuzz"


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_no_bytes_make_a_reader_fail_otherwise_than_in_words(name: str) -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    options = [f"-runs={os.environ.get('FUZZ_RUNS', '100000')}", "-seed=1", "-timeout=60", "-rss_limit_mb=4096"]
    done = subprocess.run(
        [
            *(sys.executable, HERE / "atheris_reader.py", name, BUILD / f"corpus-{name}"),
            *(*options, f"-artifact_prefix={BUILD}/{name}-", "-max_len=65536", "-verbosity=0"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
