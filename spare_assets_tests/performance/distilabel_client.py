"""The rival of `engine_requests` that does the same work: distilabel, with its OpenAI client in a smallest pipeline.

    python distilabel_client.py URL CONCURRENCY QUESTIONS

Run by the Python of the rival's environment: nothing of this project is imported. The file of questions holds JSON, one
text a line. The last line of output tells the seconds of the whole run of the pipeline and what came back.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration


def main() -> None:
    """Ask every question of the file."""
    url, concurrency = sys.argv[1], int(sys.argv[2])
    lines = Path(sys.argv[3]).read_text().splitlines()
    rows = [{"instruction": json.loads(line), "number": number} for number, line in enumerate(lines)]
    begun, busy = time.perf_counter(), time.process_time()
    with Pipeline("requests") as pipeline:
        load = LoadDataFromDicts(data=rows, batch_size=concurrency)
        llm = OpenAILLM(
            model="m", base_url=url, api_key="none", generation_kwargs={"temperature": 0, "max_new_tokens": 50}
        )
        generate = TextGeneration(llm=llm, input_batch_size=concurrency)
        load >> generate
    answered = pipeline.run(use_cache=False)["default"]["train"].sort("number")
    seconds, cpu = time.perf_counter() - begun, time.process_time() - busy
    digest = hashlib.sha256()
    for text, metadata in zip(answered["generation"], answered["distilabel_metadata"], strict=True):
        counts = metadata["statistics_text_generation_0"]
        digest.update(json.dumps([text, "stop", counts["input_tokens"], counts["output_tokens"]]).encode())
    print(json.dumps({"rows": len(answered), "seconds": seconds, "cpu": cpu, "digest": digest.hexdigest()}))


if __name__ == "__main__":
    main()
