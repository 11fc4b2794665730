"""What can be downloaded, where it comes from, what it may be used for, and fetching it: plain files, checked by hash, never executed."""

from .table import Entry, Files, Member, cache_root, entries, entry, fetch

__all__ = ["Entry", "Files", "Member", "cache_root", "entries", "entry", "fetch"]
