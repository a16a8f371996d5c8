"""All ten benchmarks by key, and the leaderboard columns they fill.

What a benchmark is like stands in its own module.
"""

from __future__ import annotations

from collections.abc import Mapping

from spare_assets.benchmarks import (
    hallusion_bench,
    mmbench,
    mme,
    mmmu,
    realworldqa,
    textvqa,
    threedsr_bench,
    vsr,
    whats_up,
)
from spare_assets.benchmarks.questions import Benchmark
from spare_assets.settings import BENCHMARKS

_ALL = (
    vsr.BENCHMARK,
    whats_up.BENCHMARK_A,
    whats_up.BENCHMARK_B,
    threedsr_bench.BENCHMARK,
    realworldqa.BENCHMARK,
    mmmu.BENCHMARK,
    mmbench.BENCHMARK,
    hallusion_bench.BENCHMARK,
    textvqa.BENCHMARK,
    mme.BENCHMARK,
)
CATALOG: Mapping[str, Benchmark] = {benchmark.key: benchmark for benchmark in _ALL}
"""In the order of the paper's Table 3."""

assert tuple(CATALOG) == BENCHMARKS


def columns(benchmark: Benchmark) -> dict[str, str]:
    """The metric behind each leaderboard column of a benchmark; MME has five columns, the others one."""
    if len(benchmark.headlines) == 1:
        return {benchmark.key: benchmark.headlines[0]}
    return {f"{benchmark.key}_{headline}": headline for headline in benchmark.headlines}
