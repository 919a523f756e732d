"""The store on disk, each part complete or absent: durable files, content-addressed artifacts, hash-chained ledger."""
