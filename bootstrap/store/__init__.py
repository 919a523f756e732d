"""What is kept on disk, complete or absent: durable files, content-addressed artifacts, the hash-chained ledger."""
