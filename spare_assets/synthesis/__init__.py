"""From captions to question-answer pairs: the spatial pre-filter, generation, parsing of replies (paper 3.2)."""
