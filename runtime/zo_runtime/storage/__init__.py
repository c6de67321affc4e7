"""Object storage: one protocol of six verbs, kept by a folder, by S3 and by this process's memory."""
