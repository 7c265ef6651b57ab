"""The table of docs/speed.md, made of the measurements in benchmarks/speed.json."""

from collections.abc import Sequence

import numpy as np

from benchmarks.speed import WORK, step_seconds

RIVALS = ("torch", "torch.compile", "keras")
TORCH = ("torch", "torch.compile", "torch-bfloat16", "torch.compile-bfloat16")
SPEED_HEADINGS = (
    "",
    "float32, images/s",
    *(f"times as fast as {name}" for name in RIVALS),
    "bfloat16, images/s",
    "times as fast as torch's best in any precision",
    "peak memory, MiB (torch's)",
    "convolutions' share",
)


def speed_lines(results: Sequence[dict]) -> list[list[str]]:
    """Returns the cells of a row for each case and kind of work; all days' rounds count alike.

    A ratio is the median of the rounds, and their range. The convolutions' share is their time alone in float32,
    divided by the time of our step.
    """
    groups: dict[tuple[str, str], list[dict]] = {}
    for result in results:
        groups.setdefault((result["case"], result["work"]), []).append(result)
    return [_line(case, work, group) for (case, work), group in groups.items()]


def _line(case: str, work: str, group: Sequence[dict]) -> list[str]:
    names = [name for name in group[0]["turns"] if all(name in result["turns"] for result in group)]
    seconds = {name: np.concatenate([step_seconds(result, name) for result in group]) for name in names}

    def rate(name: str) -> str:
        return f"{group[0]['batch'] / np.median(seconds[name]):,.0f}" if name in seconds else "-"

    def ratio(ours: str, rival: str | None) -> str:
        if ours not in seconds or rival not in seconds:
            return "-"
        ratios = seconds[rival] / seconds[ours]
        return f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"

    best = min((name for name in TORCH if name in seconds), key=lambda name: np.median(seconds[name]), default=None)
    peaks = {name: max(turn["peak_mib"] for result in group for turn in result["turns"][name]) for name in names}
    shares = [
        r["convolution_seconds"] / np.median(step_seconds(r, "ours")) for r in group if "convolution_seconds" in r
    ]
    return [
        f"{case}, {WORK[work]}",
        rate("ours"),
        *(ratio("ours", name) for name in RIVALS),
        rate("ours-bfloat16"),
        ratio("ours-bfloat16", best) + f", {best}" * (best is not None and "ours-bfloat16" in seconds),
        f"{peaks['ours']:,} ({peaks['torch']:,})" if "torch" in peaks else f"{peaks['ours']:,}",
        f"{100 * np.median(shares):.0f} %" if shares else "-",
    ]
