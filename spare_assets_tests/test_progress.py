from __future__ import annotations

import pytest

from spare_assets.progress import Beat, Progress


def test_a_beat_tells_done_rate_tokens_and_time_left() -> None:
    beat = Beat("qa_pairs", done=250, total=1000, seconds=10, tokens=5000, failed=3, finished=False)
    assert beat.rate == 25
    assert beat.seconds_left == 30
    assert str(beat) == "qa_pairs: 250/1,000, 25.0/s, 500 tokens/s, 3 failed, 0:00:30 left"


def test_beats_come_at_most_once_per_interval_and_once_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def monotonic() -> float:
        return now

    monkeypatch.setattr("spare_assets.progress.time.monotonic", monotonic)
    beats: list[Beat] = []
    progress = Progress("work", 100, beats.append, interval=10)
    progress._started = progress._told = 0.0
    for second in range(1, 26):
        now = float(second)
        progress.advance(2)
    assert [beat.done for beat in beats] == [20, 40]
    assert progress.finish().finished
    assert [beat.finished for beat in beats] == [False, False, True]
