"""From files of records to token ids: read, fill in, quarantine, split, and the order of batches."""
