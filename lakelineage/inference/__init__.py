"""Models as files, and scoring tables with them."""
