"""Results that need not be made twice: tiers that keep them, and work in flight that is joined.

front.py          what the API asks: memory, work in flight, shared tiers, then the work itself
├── memory.py     tier of this process
├── shared.py     tier in Redis                 ┐ each behind a breaker.py: when it is down,
├── stored.py     tier by a pyarrow.fs URI      ┘ it is skipped, and nobody sees an error
├── flight.py     joins callers of one process; what it means to claim work among processes
├── node_claims.py, shared_claims.py            claims by file locks, by Redis
└── codec.py      results as bytes, without pickle: a shared store cannot run code here
quarantine.py     sources that killed their process more than once
"""
