"""Keeping the lake's own tables quick: compaction, publishing, vacuum."""
