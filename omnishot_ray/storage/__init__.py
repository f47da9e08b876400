"""Bytes by URI: where sources are read from and results are written to.

sources.py        what a request names as its source
├── fetch.py      from the web: limits, redirects, hosts that rest
│   └── outbound.py   connections, each judged by guard.py with the addresses.py that are public
└── roots.py      from a store, under an allowed root
outputs.py        results under an allowed root
blobs.py          bytes under the digest of themselves
└── folders.py    what a folder or bucket can do: local.py, objects.py
"""
