"""SpaRE as a Dagster asset graph: hyper-detailed captions to a verified spatial question-answer dataset.

Each folder is a room. Stage rooms (captions, synthesis, quality, dataset) hold pure modules beside a thin
`assets.py` of Dagster shells; storage, engines, clip, relations and sandbox know nothing of Dagster.
"""

import os

# Two OpenMP threads that spin beside another busy process make torch ten times slower. Read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
