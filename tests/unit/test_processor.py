"""Whether a processor has instructions for bf16, from what Linux says of it."""

from pathlib import Path

import pytest

from bootstrap import processor

X86 = "processor\t: 0\nflags\t\t: fpu sse2 avx512f avx512_vnni{}\nbugs\t\t: bf16\n\nprocessor\t: 1\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd sve{}\nCPU implementer\t: 0x41\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (X86.format(""), False),
        (X86.format(" avx512_bf16"), True),
        (X86.format(" amx_bf16 amx_tile"), True),
        (X86.format(" avx512_bf16_like"), False),
        (ARM.format(""), False),
        (ARM.format(" svebf16 bf16"), True),
        ("", False),
    ],
)
def test_bf16_is_what_the_kernel_lists_among_the_first_cores_flags(
    text: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(processor, "CPU_INFO", tmp_path / "cpuinfo")
    assert processor.has_bf16() is expected


def test_a_machine_that_does_not_say_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "CPU_INFO", tmp_path / "cpuinfo")
    assert processor.has_bf16() is False
