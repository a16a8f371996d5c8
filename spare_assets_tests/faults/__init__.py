"""The fault matrix: whatever dies, what was paid for is kept; whatever comes in, nothing but data happens.

A module per kind of fault lists its cases. `python -m spare_assets_tests.faults` runs all of them and writes the table;
`make test` runs the short form, one case of every row. How a room's code behaves without a fault belongs to the room's
own tests.
"""
