"""The benchmark of checks 1 to 3: the rules that rivals are given keep the pairs that ours keep."""

from __future__ import annotations

from pathlib import Path

from spare_assets.storage.tables import TableStore
from spare_assets_tests.performance.checks_inputs import write
from spare_assets_tests.performance.checks_ours import run_checks
from spare_assets_tests.performance.paper_tables import SOURCE
from spare_assets_tests.performance.plain_rules import PlainRules


def test_plain_rules_keep_what_the_checks_keep(tmp_path: Path) -> None:
    write(tmp_path, 400)
    rules = PlainRules(tmp_path / "rules.json")
    store = TableStore(tmp_path)
    captions = dict(store.scan("spatial_captions", SOURCE).select("caption_id", "caption").collect().iter_rows())
    pairs = store.scan("qa_pairs", SOURCE).select("pair_id", "caption_id", "question", "answer").collect()
    kept: dict[str, list[str]] = {"deduplicated_pairs": [], "reference_checked_pairs": [], "grounded_pairs": []}
    for pair_id, caption_id, question, answer in pairs.iter_rows():
        if not rules.new(caption_id, question):
            continue
        kept["deduplicated_pairs"].append(pair_id)
        if not rules.speaks_of_image(question, answer):
            continue
        kept["reference_checked_pairs"].append(pair_id)
        if rules.grounded(question, answer, captions[caption_id]):
            kept["grounded_pairs"].append(pair_id)
    run_checks(store)
    for table, ids in kept.items():
        assert store.scan(table, SOURCE).select("pair_id").collect().to_series().to_list() == ids
    assert [400, *sorted(map(len, kept.values()), reverse=True)] == [len(pairs), *map(len, kept.values())]
    assert len({400, *map(len, kept.values())}) == 4
