"""Reading with DuckDB: SQL on one machine."""
