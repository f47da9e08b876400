"""Ray imports pyarrow in every process that pickles, to pickle tables better: 7 MB for nothing."""

from ray._private import arrow_serialization


def spare_arrow() -> None:
    """Let Ray pickle without it in this process; a table would be pickled as it is, whole."""
    arrow_serialization._register_custom_datasets_serializers = lambda _: None
