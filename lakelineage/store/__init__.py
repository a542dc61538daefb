"""Delta commits, the files of a lake, locks and leases. The only room that knows deltalake."""
